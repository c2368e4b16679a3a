-- Registers (管理簿): entries are only added. A register as of a day is each subject's last entry until then.
create schema registers;
create table registers.entries (
    id       bigint generated always as identity primary key,
    register text not null check (length(register) between 1 and 40),
    subject  text not null check (length(subject) between 1 and 200),
    at       timestamptz not null,
    by       text not null,                            -- the person, or 'setup' and 'system'
    what     text not null,                            -- what happened, in a word
    fields   jsonb not null check (length(fields::text) <= 20000),
    removed  boolean not null default false            -- no longer of this register from here on
);
create index on registers.entries (register, subject, id desc);
create index on registers.entries (register, at);
grant usage on schema registers to accessbroker;
grant select, insert on registers.entries to accessbroker;
