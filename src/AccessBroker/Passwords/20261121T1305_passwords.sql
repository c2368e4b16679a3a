-- Passwords, where policy lets them count: as hashes in the form that says how they were made, with the earlier ones for the history check.
create schema passwords;
create table passwords.current (
    person          text primary key,
    hash            text not null,                     -- $argon2id$… or $pbkdf2-sha256$…
    set_at          timestamptz not null,
    temporary_until timestamptz                        -- good for setting another one, and not after this
);
create table passwords.former (
    id     bigint generated always as identity primary key,
    person text not null,
    hash   text not null,
    set_at timestamptz not null
);
create index on passwords.former (person, id);
grant usage on schema passwords to accessbroker;
grant select, insert, update, delete on passwords.current to accessbroker;
grant select, insert, delete on passwords.former to accessbroker;
