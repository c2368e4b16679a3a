-- Sessions leased to terminals. A session lives while its terminal's lease lives with the same presence epoch, by the database's clock.
create schema sessions;
create table sessions.leases (
    terminal text primary key,
    epoch    text not null,
    node     text not null,
    until    timestamptz not null
);
create table sessions.sessions (
    id          text primary key,                     -- sid
    cookie_hash bytea not null,
    person      text not null,
    card        text not null,
    terminal    text not null,
    address     text not null,
    epoch       text not null,
    acr         text not null,
    amr         text[] not null,
    auth_time   timestamptz not null,
    started_at  timestamptz not null,
    seen_at     timestamptz not null,
    expires_at  timestamptz not null,
    ended_at    timestamptz,
    end_reason  text
);
create unique index on sessions.sessions (cookie_hash);
create unique index one_live_session_per_person on sessions.sessions (person) where ended_at is null;       -- MIC 6.2(1)解b
create unique index one_live_session_per_terminal on sessions.sessions (terminal) where ended_at is null;
create index on sessions.sessions (person, started_at);
create index on sessions.sessions (card) where ended_at is null;
grant usage on schema sessions to accessbroker;
grant select, insert, update on sessions.sessions to accessbroker;
grant select, insert, update, delete on sessions.leases to accessbroker;
