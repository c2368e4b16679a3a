-- The first day: one row, made by 'AccessBroker init', closed for ever when both cards are in their hands.
create schema setup;
create table setup.first_day (
    one_row        boolean primary key default true check (one_row),
    administrator  text not null,
    pin_manager    text not null,
    terminal       text not null,
    administrator_code bytea not null,                 -- hashes of the two single-use codes
    pin_manager_code   bytea not null,
    session_hash   bytea,                              -- of the cookie of the two people at the station
    session_until  timestamptz,
    begun_at       timestamptz not null,
    closed_at      timestamptz
);
grant usage on schema setup to accessbroker;
grant select on setup.first_day to accessbroker;
grant update (administrator_code, pin_manager_code, session_hash, session_until, closed_at) on setup.first_day to accessbroker;
