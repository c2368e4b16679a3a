-- What taking the card out does to a session (terminate or lock), and leases that stand still while no node can prolong them.
alter table sessions.sessions
    add column card_out  text not null default 'terminate' check (card_out in ('terminate', 'lock')),
    add column locked_at timestamptz,
    add column leased_at timestamptz not null default clock_timestamp();    -- its lease must have held without a break since then
alter table sessions.leases
    add column system text not null default '',
    add column since    timestamptz not null default clock_timestamp(),     -- since when it holds without a break
    add column heard_at timestamptz not null default clock_timestamp();     -- when a node last wrote it
create index on sessions.sessions (terminal) where ended_at is null;

-- When any node last prolonged leases, and the last pause in which none could (up to 30 s: database away, or no node up). One row.
create table sessions.pulse (
    one_row    boolean primary key default true check (one_row),
    at         timestamptz not null,
    paused_at  timestamptz,
    resumed_at timestamptz
);
insert into sessions.pulse (at) values (clock_timestamp());
grant select, update on sessions.pulse to accessbroker;

-- The clock by which leases are judged. held_at: during a pause, and for 10 s after it, leases that held at its beginning are not over but
-- unconfirmed: nobody gets in by them, and nothing is ended, until their terminals have been heard again. Null otherwise. fresh_after: what was
-- written before it is no news either, although it has not run out: a card may have left meanwhile.
create view sessions.lease_clock as
    select clock_timestamp() as now, case
        when clock_timestamp() - at between interval '4 seconds' and interval '30 seconds' then at
        when clock_timestamp() < resumed_at + interval '10 seconds' then paused_at end as held_at, case
        when clock_timestamp() - at >= interval '4 seconds' then 'infinity'
        when clock_timestamp() < resumed_at + interval '10 seconds' then resumed_at
        else '-infinity' end as fresh_after
    from sessions.pulse;
grant select on sessions.lease_clock to accessbroker;
