-- The register of terminals, who may sit at which, and the certificates of their agents.
create schema terminals;
create table terminals.terminals (
    id                 text primary key,
    name               text not null,
    responsible_person text not null,                 -- 端末機の管理を行う責任者, MOJ 第5-4(1)
    place              text not null,
    system             text not null,                 -- one system per terminal, INA 第11(2)
    address            text not null,                 -- network address its browser and agent come from
    state              text not null check (state in ('in-use', 'disabled', 'lost'))
);
create table terminals.grants (
    terminal    text not null references terminals.terminals (id),
    person      text not null,
    approved_by text not null,
    reason      text not null,
    valid_from  timestamptz not null,
    valid_until timestamptz,
    primary key (terminal, person, valid_from)
);
create table terminals.certificates (
    thumbprint  bytea primary key check (length(thumbprint) = 32),
    terminal    text not null references terminals.terminals (id),
    enrolled_at timestamptz not null,
    expires_at  timestamptz not null,
    revoked_at  timestamptz
);
create table terminals.enrolment_codes (
    code_hash  bytea primary key check (length(code_hash) = 32),
    terminal   text not null references terminals.terminals (id),
    expires_at timestamptz not null,
    used_at    timestamptz
);
grant usage on schema terminals to accessbroker;
grant select, insert, update on all tables in schema terminals to accessbroker;
