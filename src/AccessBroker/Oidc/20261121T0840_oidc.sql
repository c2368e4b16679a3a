-- Which relying parties take part in a session, what they are told when it ends, and refresh tokens that die with it.
create table oidc.participants (
    session text not null,
    client  text not null references oidc.clients (id),
    at      timestamptz not null,
    primary key (session, client)
);
create table oidc.logout_deliveries (                  -- OpenID Connect Back-Channel Logout 1.0: at least once
    id           bigint generated always as identity primary key,
    session      text not null,
    client       text not null,
    person       text not null,
    ended_at     timestamptz not null,
    attempts     integer not null default 0,
    next_at      timestamptz not null default clock_timestamp(),
    delivered_at timestamptz,
    dead_at      timestamptz,
    error        text,
    unique (session, client)
);
create index on oidc.logout_deliveries (client, next_at) where delivered_at is null and dead_at is null;
create table oidc.refresh_tokens (
    token_hash bytea primary key check (length(token_hash) = 32),
    family     text not null,                          -- all that came from one code
    session    text not null,
    client     text not null,
    scope      text not null,
    expires_at timestamptz not null,
    used_at    timestamptz,
    revoked_at timestamptz
);
create index on oidc.refresh_tokens (family);
create index on oidc.refresh_tokens (expires_at);
alter table oidc.access_tokens add column family text, alter column code_hash drop not null;
create index on oidc.access_tokens (family) where family is not null;
create index participants_at on oidc.participants (at);
grant select, insert, update, delete on oidc.participants, oidc.refresh_tokens, oidc.logout_deliveries to accessbroker;

-- Whatever ends a session, the notices to its relying parties are written by the same transaction.
create function oidc.tell_participants() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
begin
    insert into oidc.logout_deliveries (session, client, person, ended_at)
    select new.id, p.client, new.person, new.ended_at from oidc.participants p where p.session = new.id
    on conflict do nothing;
    return null;
end $$;
create trigger tell_participants after update of ended_at on sessions.sessions for each row
    when (old.ended_at is null and new.ended_at is not null) execute function oidc.tell_participants();
-- A relying party that joined in the moment of the end: told by the next turn of the worker.
create function oidc.tell_latecomers() returns bigint language sql security definer set search_path = pg_catalog as $$
    with told as (insert into oidc.logout_deliveries (session, client, person, ended_at)
        select p.session, p.client, sessions.person_of(p.session), sessions.end_of(p.session) from oidc.participants p
        where sessions.end_of(p.session) is not null and p.at > clock_timestamp() - interval '1 hour' and not exists (select from oidc.logout_deliveries d where d.session = p.session and d.client = p.client)
        on conflict do nothing returning 1)
    select count(*) from told $$;
