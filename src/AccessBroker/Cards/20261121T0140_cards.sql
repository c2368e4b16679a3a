-- Operator cards (操作識別カード): whose, in which state, and their public keys. No PIN is known here.
create schema cards;
create table cards.cards (
    id                text primary key,                -- GUID of the CHUID, 32 hex digits
    person            text not null,
    state             text not null check (state in ('personalised', 'in-locker', 'handed-over', 'lost', 'revoked', 'returned', 'destroyed')),
    sign_in_key       bytea not null,                  -- 9A, SubjectPublicKeyInfo
    signature_key     bytea not null,                  -- 9C
    possession_key    bytea not null,                  -- 9E
    tries_left        integer,                         -- PIN tries the card was last seen with
    changed_at        timestamptz not null
);
create unique index on cards.cards (possession_key);
grant usage on schema cards to accessbroker;
grant select, insert, update on cards.cards to accessbroker;
