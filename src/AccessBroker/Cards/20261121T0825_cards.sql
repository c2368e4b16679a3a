-- The life of a card (and of FIDO keys and one-time-code tokens, which follow the same cycle), and the work done on cards at a station.
alter table cards.cards
    alter column sign_in_key drop not null, alter column signature_key drop not null, alter column possession_key drop not null,
    add column kind            text not null default 'piv-card' check (kind in ('piv-card', 'fido-key', 'otp-token')),
    add column serial          text not null default '',
    add column generation      integer not null default 0,     -- which management key: derived from the id and this
    add column puk_counter     integer not null default 0,     -- which PUK
    add column temporary_until timestamptz,                    -- a card for one day
    add column first_pin_until timestamptz,                    -- its PIN was printed: it opens nothing until a new one is set, and not after this
    add column locker          text not null default '',
    add column collected_by    text,
    add column request         bigint,
    add column replaces        text,
    add column inspected_at    timestamptz,
    add column inspection_told timestamptz,
    drop constraint cards_state_check,
    add constraint cards_state_check check (state in ('personalising', 'personalised', 'handed-over', 'in-locker', 'suspended', 'lost', 'revoked', 'collected', 'returned', 'spoiled', 'destroyed'));
create index on cards.cards (person);
create unique index one_temporary_card_per_person on cards.cards (person) where temporary_until is not null and state = 'handed-over';

create table cards.works (
    id         text primary key,
    kind       text not null,
    request    bigint,
    person     text not null,                          -- whose card
    card       text,
    started_by text not null,
    terminal   text not null,
    unavoidable boolean not null default false,
    handle_hash bytea,
    state      text not null check (state in ('open', 'handed', 'running', 'done', 'failed')),
    step       integer not null default 0,
    data       jsonb not null default '{}',            -- what the next step needs; never a secret
    told       text,
    touched_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null
);
create unique index on cards.works (handle_hash);
create unique index one_work_per_card on cards.works (card) where state = 'running';
create table cards.stock (
    id     bigint generated always as identity primary key,
    kind   text not null,
    change integer not null check (change <> 0),
    why    text not null,
    by     text not null,
    at     timestamptz not null
);
create table cards.standards (
    version        integer primary key,
    title          text not null check (length(title) <= 200),
    text           text not null check (length(text) <= 100000),
    effective_from timestamptz not null,
    published_by   text not null,
    published_at   timestamptz not null
);
create table cards.acknowledgements (
    person  text not null,
    version integer not null references cards.standards (version),
    at      timestamptz not null,
    primary key (person, version)
);
grant select, insert, update on cards.works to accessbroker;
grant delete on cards.works to accessbroker;
grant select, insert on cards.stock, cards.standards, cards.acknowledgements to accessbroker;

-- What other slices ask inside their own statements.
create function cards.usable(which text, at timestamptz) returns boolean language sql stable parallel safe as $$
    select exists (select from cards.cards c where c.id = which and c.state = 'handed-over' and (c.temporary_until is null or c.temporary_until > at)) $$;
