-- Passkeys (FIDO2): the key's public half and counter here; whose it is, whether it may be used, its loss and its return on the register of cards.
create schema passkeys;
create table passkeys.users (                          -- what keys carry of a person: random, without meaning
    person text primary key,
    handle text not null unique
);
create table passkeys.keys (
    card            text primary key,                  -- on the register of cards, kind 'fido-key'
    person          text not null,
    credential_id   bytea not null unique,
    public_key      bytea not null,                    -- COSE
    sign_count      bigint not null,
    aaguid          uuid not null,
    attestation     text not null check (attestation in ('none', 'self', 'certified')),
    chain           bytea[] not null default '{}',     -- of its attestation, judged anew with each metadata file
    trusted         boolean not null,                  -- its model is in the metadata, not revoked, and vouched for
    backup_eligible boolean not null,
    backed_up       boolean not null,
    transports      text not null,
    name            text not null check (length(name) <= 100),
    created_at      timestamptz not null,
    used_at         timestamptz
);
create index on passkeys.keys (person);
create index on passkeys.keys (aaguid);
create table passkeys.ceremonies (                     -- what an answer is judged by: here, never in the page; one use
    id         text primary key,
    kind       text not null check (kind in ('register', 'sign-in')),
    owner      text not null,                          -- the session, or the sign-in transaction
    state      text not null,
    expires_at timestamptz not null
);
create index on passkeys.ceremonies (expires_at);
create table passkeys.models (                         -- of the last metadata file
    aaguid      uuid primary key,
    description text not null,
    anchors     bytea[] not null,
    statuses    text[] not null,
    revoked     boolean not null
);
create table passkeys.metadata (
    number      bigint primary key,
    next_update date not null,
    imported_at timestamptz not null,
    models      integer not null,
    sha256      text not null
);
grant usage on schema passkeys to accessbroker;
grant select, insert, update on passkeys.users, passkeys.keys to accessbroker;
grant select, insert, delete on passkeys.ceremonies to accessbroker;
grant select on passkeys.models, passkeys.metadata to accessbroker;
