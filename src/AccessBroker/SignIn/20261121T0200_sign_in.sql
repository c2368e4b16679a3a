-- Sign-in transactions: from a relying party's request to a session. Rows are deleted an hour after their end; what matters is in the history.
create schema sign_in;
create table sign_in.transactions (
    id                text primary key,
    browser_hash      bytea not null,                  -- of the cookie that binds it to one browser
    address           text not null,                   -- where that browser is
    number            integer not null check (number between 10 and 99),
    client            text,
    client_name       text not null,
    return_path       text not null,
    expires_at        timestamptz not null,
    state             text not null check (state in ('open', 'handed', 'claimed', 'pin', 'proven', 'completed', 'refused', 'locked', 'cancelled')),
    handle_hash       bytea unique,
    handle_expires_at timestamptz,
    terminal          text, epoch text, nonce text, card text, person text,
    code_hash         bytea,
    code_expires_at   timestamptz,
    told              text,                            -- what the page says beside the state: a receipt, a time, a cause
    changed_at        timestamptz not null default clock_timestamp()
);
create index on sign_in.transactions (expires_at);
grant usage on schema sign_in to accessbroker;
grant select, insert, update, delete on sign_in.transactions to accessbroker;
