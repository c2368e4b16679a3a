-- What the register of configuration (様式第1号, INA 第14(5)) asks of a terminal, and its states from use to the way out and back.
alter table terminals.terminals
    add column segment     text not null default '',
    add column link        text not null default 'wired' check (link in ('wired', 'wifi')),
    add column mobile      boolean not null default false,
    add column mac         text not null default '',
    add column fingerprint text not null default '',       -- of the configuration as approved; '' until the first attach after the approval
    add column reported    text not null default '',       -- as last reported by the agent
    add column changed_at  timestamptz not null default clock_timestamp(),
    drop constraint terminals_state_check,
    add constraint terminals_state_check check (state in ('in-use', 'disabled', 'lost', 'isolated', 'out', 'quarantine'));
create index on terminals.grants (person, valid_from);

-- What other slices ask inside their own statements.
create function terminals.may_sit(at_terminal text, who text, at timestamptz) returns boolean language sql stable parallel safe as $$
    select exists (select from terminals.grants g where g.terminal = at_terminal and g.person = who and g.valid_from <= at and (g.valid_until is null or g.valid_until > at)) $$;
create function terminals.in_use(which text) returns boolean language sql stable parallel safe as $$
    select exists (select from terminals.terminals t where t.id = which and t.state = 'in-use') $$;
create function terminals.name_of(which text) returns text language sql stable parallel safe as $$ select name from terminals.terminals where id = which $$;
