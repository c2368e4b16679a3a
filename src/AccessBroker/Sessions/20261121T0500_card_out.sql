-- What taking the card out does to a session (terminate or lock), and leases that stand still while no node can prolong them.
alter table sessions.sessions
    add column card_out  text not null default 'terminate' check (card_out in ('terminate', 'lock')),
    add column locked_at timestamptz,
    add column leased_at timestamptz not null default clock_timestamp();    -- its lease must have held without a break since then
alter table sessions.leases
    add column system text not null default '',
    add column since  timestamptz not null default clock_timestamp();       -- since when it holds without a break
create index on sessions.sessions (terminal) where ended_at is null;

-- When any node last prolonged leases. One row.
create table sessions.pulse (
    one_row boolean primary key default true check (one_row),
    at      timestamptz not null
);
insert into sessions.pulse (at) values (clock_timestamp());
grant select, update on sessions.pulse to accessbroker;

-- The clock by which leases are judged. Without a pulse for 2 s (database away, or no node up) it stands still at the last one: the terminals could
-- not be heard. After 30 s it runs again, and what was leased is over. The first pulse afterwards moves the leases on by what was lost.
create view sessions.lease_clock as
    select case when clock_timestamp() - at between interval '2 seconds' and interval '30 seconds' then at else clock_timestamp() end as now from sessions.pulse;
grant select on sessions.lease_clock to accessbroker;
