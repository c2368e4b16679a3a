-- Rosters of the HR department as imported: what differed, who looked at it, when it was applied.
create schema staff;
create table staff.rosters (
    id           bigint generated always as identity primary key,
    effective    timestamptz not null,
    imported_by  text not null,
    imported_at  timestamptz not null,
    sha256       text not null,
    people       jsonb not null,                       -- the rows as read
    changes      jsonb not null,                       -- the difference that was shown
    register_hash text not null,                       -- of the register the difference was taken against
    applied_by   text,
    applied_at   timestamptz,
    discarded_at timestamptz
);
create table staff.orphans (                           -- on the register, not on the roster (MIC 6.2(1)②(ウ))
    person     text primary key,
    found_at   timestamptz not null,
    roster     bigint not null references staff.rosters (id),
    told_at    timestamptz,
    settled_by text,
    settled_at timestamptz,
    how        text
);
grant usage on schema staff to accessbroker;
grant select, insert, update on staff.rosters to accessbroker;
grant select, insert, update, delete on staff.orphans to accessbroker;
