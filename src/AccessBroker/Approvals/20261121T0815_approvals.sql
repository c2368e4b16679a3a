-- Requests (申請), what was decided on them, and the exceptions from the rules of separation. Decisions and exceptions are only added; a review fills an exception once.
create schema approvals;
create table approvals.requests (
    id             bigint generated always as identity primary key,
    kind           text not null,
    person         text,
    card           text,
    terminal       text,
    fields         jsonb not null check (length(fields::text) <= 20000),
    reason         text not null check (length(reason) between 1 and 1000),
    requested_by   text not null,
    requested_at   timestamptz not null,
    due_at         timestamptz not null,
    state          text not null default 'open' check (state in ('open', 'approved', 'done', 'refused', 'withdrawn', 'expired')),
    closed_at      timestamptz,
    overdue_told   boolean not null default false
);
create index on approvals.requests (state, kind);
create index on approvals.requests (person);
create index on approvals.requests (card);
create index on approvals.requests (terminal);
create table approvals.decisions (
    request   bigint not null references approvals.requests (id),
    step      text not null,                           -- approve-…, execute, refuse, withdraw, expire
    by        text not null,
    at        timestamptz not null,
    note      text not null default '',
    exception bigint,
    primary key (request, step)
);
create table approvals.exceptions (
    id          bigint generated always as identity primary key,
    rules       text not null,                         -- what would have forbidden it
    act         text not null,
    by          text not null,
    request     bigint,
    about       text not null,
    reason      text not null check (length(reason) between 10 and 1000),
    at          timestamptz not null,
    expires_at  timestamptz not null,
    review_by   timestamptz not null,
    involved    text[] not null,                       -- none of them may review it
    reviewed_by text,
    reviewed_at timestamptz,
    finding     text
);
create index on approvals.exceptions (by) where reviewed_at is null;
grant usage on schema approvals to accessbroker;
grant select, insert on approvals.requests, approvals.decisions, approvals.exceptions to accessbroker;
grant update (state, closed_at, overdue_told) on approvals.requests to accessbroker;
grant update (reviewed_by, reviewed_at, finding) on approvals.exceptions to accessbroker;
