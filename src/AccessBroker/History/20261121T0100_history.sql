-- The operation history: rows are only ever added. The server role has no other right on them.
create schema history;
create table history.events (
    id          bigint generated always as identity primary key,
    at          timestamptz not null,                              -- the node's clock, at most 1 s off the database's
    recorded_at timestamptz not null default clock_timestamp(),    -- the database's clock
    xact        xid8 not null default pg_current_xact_id(),        -- orders committed rows for the integrator of the log
    operation   text not null check (length(operation) between 3 and 100),
    outcome     text not null check (outcome in ('done', 'refused', 'ended')),
    reason      text not null check (length(reason) <= 100),
    person      text, terminal text, card text, session text, client text, address text, receipt text,
    details     jsonb not null,
    count       integer not null check (count >= 1),
    origin      text not null check (origin in ('live', 'spool', 'coalesced')),
    body        bytea not null check (length(body) <= 16384),
    leaf        bytea not null check (length(leaf) = 32)
);
create index on history.events (person, id);
create index on history.events (terminal, id);
create index on history.events (receipt) where receipt is not null;
grant usage on schema history to accessbroker;
grant select, insert on history.events to accessbroker;
