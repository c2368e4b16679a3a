-- The file server's browsers: a cookie of its own for each session, and the one-time codes by which it comes about.
create schema file_server;
create table file_server.entries (
    code_hash   bytea unique,                          -- until it is redeemed
    state_hash  bytea not null,                        -- of the cookie that asked: a code brought by another browser opens nothing
    cookie_hash bytea unique,
    session     text not null,
    target      text not null,
    expires_at  timestamptz not null
);
create index on file_server.entries (expires_at);
grant usage on schema file_server to accessbroker;
grant select, insert, update, delete on file_server.entries to accessbroker;
