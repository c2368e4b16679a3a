-- What an approver's card signed: good for seven years without this database or its CA's servers (openssl verifies it). Added only.
create table approvals.signatures (
    request     bigint not null references approvals.requests (id),
    step        text not null,
    document    text not null,                         -- the canonical request, as the card's agent was given it
    signed      bytea not null,                        -- purpose, nonce, terminal, transaction, SHA-256 of the document: each with its length before it
    signature   bytea not null,                        -- ECDSA P-256 with SHA-256, DER
    certificate bytea not null,                        -- key 9C, DER
    primary key (request, step)
);
grant select, insert on approvals.signatures to accessbroker;
