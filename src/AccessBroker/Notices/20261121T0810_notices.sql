-- Notices in a closed network: to the person's task list, to the terminal where the person sits, to an internal mail relay. Each way has its own state.
create schema notices;
create table notices.notices (
    id         bigint generated always as identity primary key,
    person     text not null,
    subject    text not null check (length(subject) <= 200),
    body       text not null check (length(body) <= 2000),
    url        text not null default '',
    created_at timestamptz not null,
    read_at    timestamptz
);
create index on notices.notices (person, id desc);
create table notices.deliveries (
    notice       bigint not null references notices.notices (id),
    channel      text not null check (channel in ('terminal', 'mail')),
    address      text not null default '',
    state        text not null default 'waiting' check (state in ('waiting', 'delivered', 'given-up')),
    attempts     integer not null default 0,
    next_at      timestamptz not null,
    delivered_at timestamptz,
    error        text,
    primary key (notice, channel)
);
create index on notices.deliveries (channel, next_at) where state = 'waiting';
grant usage on schema notices to accessbroker;
grant select, insert, update on all tables in schema notices to accessbroker;
