-- Privileged sessions (MIC 6.2(1)③, 6.2(6), 7.4(2)): what runs on which target until when, how it ended, and what it showed.
create schema privileged;
create table privileged.agents (                       -- certificates of the targets' agents
    certificate bytea primary key check (length(certificate) = 32),
    target      text not null,
    enrolled_at timestamptz not null,
    expires_at  timestamptz not null,
    revoked_at  timestamptz,
    seen_at     timestamptz                            -- attached to some node
);
create table privileged.enrolment_codes (
    code_hash  bytea primary key check (length(code_hash) = 32),
    target     text not null,
    expires_at timestamptz not null,
    used_at    timestamptz
);
create table privileged.sessions (
    id          text primary key check (id ~ '^ps[0-9a-f]{20}$'),
    request     bigint,                                -- null: an emergency
    work        text not null,
    target      text not null,
    kind        text not null check (kind in ('ssh', 'postgres', 'files')),
    person      text not null,
    card        text not null,
    terminal    text not null,
    session     text not null,                         -- the sign-in it hangs on: ends with it
    address     text not null,
    reason      text not null,
    ticket      text not null,
    approvers   text[] not null,
    started_at  timestamptz not null,
    ends_at     timestamptz not null,
    state       text not null check (state in ('opening', 'open', 'ending', 'ended')),
    opened_at   timestamptz,
    place       jsonb,                                 -- account, host, port, host key or database: what a helper needs
    grant_id    bigint,                                -- files: the temporary permission
    asked_at    timestamptz,                           -- when its end was ordered
    end_reason  text,
    over_at     timestamptz,                           -- nothing runs any more: the target's word
    ended_in    double precision,                      -- ms from the order, or the limit, at the target
    left_over   integer,                               -- processes or backends that could not be ended
    ended_at    timestamptz,                           -- cleaned up and recorded
    found       text[],                                -- what was left behind and removed
    result      text,                                  -- MIC 6.1(4): what was done
    result_at   timestamptz,
    reviewed_by text,
    reviewed_at timestamptz,
    finding     text,
    check ((state = 'ended') = (ended_at is not null))
);
create index on privileged.sessions (target) where ended_at is null;
create index on privileged.sessions (person, started_at);
create unique index on privileged.sessions (request) where request is not null;
create table privileged.connect_codes (
    code_hash  bytea primary key check (length(code_hash) = 32),
    session    text not null references privileged.sessions (id),
    expires_at timestamptz not null,
    used_at    timestamptz
);
create table privileged.admissions (                   -- a PostgreSQL login waits for the target's agent, whichever node it is attached to
    id         bigint generated always as identity primary key,
    session    text not null references privileged.sessions (id),
    verifier   text not null,
    asked_at   timestamptz not null,
    answered   text                                    -- admitted, or a code
);
create table privileged.certificates (                 -- OpenSSH user certificates
    serial      bigint generated always as identity primary key,
    session     text not null references privileged.sessions (id),
    key_hash    bytea not null,
    issued_at   timestamptz not null,
    valid_until timestamptz not null
);
create table privileged.chunks (                       -- what a session showed: asciicast v2 lines, in order; each hash is over the one before and the data
    session text not null references privileged.sessions (id),
    number  integer not null,
    data    bytea not null,
    chain   bytea not null check (length(chain) = 32),
    at      timestamptz not null,
    primary key (session, number)
);
create table privileged.stops (                        -- emergency stop: nothing new starts while it lasts
    id        bigint generated always as identity primary key,
    scope     text not null check (scope in ('everyone', 'person', 'target', 'work')),
    value     text not null,
    reason    text not null,
    by        text not null,
    at        timestamptz not null,
    lifted_by text,
    lifted_at timestamptz
);
grant usage on schema privileged to accessbroker;
grant select, insert, update on privileged.agents, privileged.enrolment_codes, privileged.sessions, privileged.connect_codes, privileged.admissions, privileged.stops to accessbroker;
grant select, insert on privileged.certificates, privileged.chunks to accessbroker;
