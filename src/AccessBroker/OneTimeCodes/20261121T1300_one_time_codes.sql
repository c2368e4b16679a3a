-- Tokens of one-time codes (RFC 6238): seeds sealed under a key that only the HSM can derive; whose they are and their life on the register of cards.
create schema one_time_codes;
create table one_time_codes.tokens (
    id            text primary key,                    -- bound into the seal: a seed fits no other row
    card          text unique,                         -- on the register of cards, kind 'otp-token'; null: in stock, or not confirmed yet
    person        text,
    serial        text not null default '',            -- of hardware tokens
    manufacturer  text not null default '',
    name          text not null default '' check (length(name) <= 100),
    sealed        bytea not null,
    digits        integer not null check (digits between 6 and 8),
    algorithm     text not null check (algorithm in ('SHA1', 'SHA256', 'SHA512')),
    period        integer not null check (period between 15 and 120),   -- seconds
    last_step     bigint not null default 0,           -- the last step that was taken: it and all before are used up
    drift         integer not null default 0,          -- steps the token's clock was ahead
    added_at      timestamptz not null,
    pending_until timestamptz,                         -- shown to its person, not yet confirmed by a code
    used_at       timestamptz
);
create unique index on one_time_codes.tokens (serial) where serial <> '';
create index on one_time_codes.tokens (person);
grant usage on schema one_time_codes to accessbroker;
grant select, insert, update, delete on one_time_codes.tokens to accessbroker;
