-- What somebody has to look at: patterns of failures, reports of operators, use of cards that must not be used. Levels are provisional (TAG 第3章).
create schema incidents;
create table incidents.candidates (
    id          bigint generated always as identity primary key,
    kind        text not null,
    level       integer not null check (level between 1 and 3),    -- provisional: never final by itself
    subject     text not null,                                     -- what it is about, to tell it once an hour
    at          timestamptz not null,
    terminal    text,
    person      text,
    reported_by text,
    items       jsonb not null check (length(items::text) <= 20000),
    closed_by   text,
    closed_at   timestamptz,
    finding     text
);
create index on incidents.candidates (kind, subject, at);
create index on incidents.candidates (id) where closed_at is null;
grant usage on schema incidents to accessbroker;
grant select, insert on incidents.candidates to accessbroker;
grant update (closed_by, closed_at, finding) on incidents.candidates to accessbroker;
