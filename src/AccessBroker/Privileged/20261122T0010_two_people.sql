-- Two-person work (MIC 6.1(4)③): stands still unless a second, different person watches.
alter table privileged.sessions add column two_person boolean not null default false, add column held_at timestamptz;   -- since when it stands still, by the target's word
create table privileged.witnesses (                    -- somebody watches: as long as their page stands
    id        bigint generated always as identity primary key,
    session   text not null references privileged.sessions (id),
    person    text not null,
    terminal  text not null,
    sign_in   text not null,                           -- the sign-in it hangs on
    joined_at timestamptz not null,
    seen_at   timestamptz not null,
    left_at   timestamptz
);
create unique index on privileged.witnesses (session) where left_at is null;
create index on privileged.witnesses (session);
create table privileged.checks (                       -- what the second person confirmed, step by step
    id      bigint generated always as identity primary key,
    session text not null references privileged.sessions (id),
    person  text not null,
    at      timestamptz not null,
    note    text not null
);
grant select, insert, update on privileged.witnesses to accessbroker;
grant select, insert on privileged.checks to accessbroker;
