-- Oversight of privileges: exceptions permitted by the CISO (MIC 7.4(1)(3)), and what a target says who may do what there (MIC 6.2解(1)).
create table privileged.exceptions (
    request      bigint primary key,
    work         text not null,
    rule         text not null check (rule in ('hours', 'two-person')),
    reason       text not null,
    measure      text not null,                        -- what is done instead
    until        timestamptz not null,
    requested_by text not null,
    permitted_by text not null,
    permitted_at timestamptz not null,
    ended_by     text,
    ended_at     timestamptz
);
create table privileged.rights (
    target      text not null,
    line        text not null,
    found_at    timestamptz not null,
    accepted_by text,
    accepted_at timestamptz,
    note        text,
    gone_at     timestamptz,
    primary key (target, line)
);
create table privileged.rights_reports (               -- the last look at each target
    target text primary key,
    at     timestamptz not null
);
grant select, insert, update on privileged.exceptions, privileged.rights, privileged.rights_reports to accessbroker;
