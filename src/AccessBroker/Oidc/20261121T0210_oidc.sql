-- Relying parties, and what is given out to them. Codes, tokens and assertion ids are stored as hashes; each code and jti works once.
create schema oidc;
create table oidc.clients (
    id            text primary key,
    configuration jsonb not null
);
create table oidc.requests (                           -- authorization requests that wait for a sign-in
    id           text primary key,
    browser_hash bytea not null,
    parameters   jsonb not null,
    created_at   timestamptz not null,
    expires_at   timestamptz not null
);
create table oidc.codes (
    code_hash    bytea primary key,
    session      text not null,
    client       text not null,
    redirect_uri text not null,
    nonce        text,
    challenge    text not null,
    scope        text not null,
    expires_at   timestamptz not null,
    used_at      timestamptz
);
create table oidc.access_tokens (
    token_hash bytea primary key,
    code_hash  bytea not null,
    session    text not null,
    client     text not null,
    scope      text not null,
    expires_at timestamptz not null,
    revoked_at timestamptz
);
create index on oidc.access_tokens (code_hash);
create table oidc.assertions (                         -- jti of client assertions, until they are over
    client     text not null,
    jti_hash   bytea not null,
    expires_at timestamptz not null,
    primary key (client, jti_hash)
);
create index on oidc.requests (expires_at);
create index on oidc.codes (expires_at);
create index on oidc.access_tokens (expires_at);
create index on oidc.assertions (expires_at);
grant usage on schema oidc to accessbroker;
grant select, insert, update, delete on all tables in schema oidc to accessbroker;
revoke insert, update, delete on oidc.clients from accessbroker;
