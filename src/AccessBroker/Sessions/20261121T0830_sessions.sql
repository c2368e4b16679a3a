-- What other slices ask inside their own statements, and who used which terminal on a day.
create function sessions.person_at(at_terminal text) returns text language sql stable parallel safe as $$
    select s.person from sessions.sessions s where s.terminal = at_terminal and s.ended_at is null and s.locked_at is null $$;
create function sessions.last_of(who text) returns timestamptz language sql stable parallel safe as $$
    select max(s.started_at) from sessions.sessions s where s.person = who $$;
create function sessions.person_of(which text) returns text language sql stable parallel safe as $$ select s.person from sessions.sessions s where s.id = which $$;
create function sessions.end_of(which text) returns timestamptz language sql stable parallel safe as $$ select s.ended_at from sessions.sessions s where s.id = which $$;
create index on sessions.sessions (terminal, started_at);
-- The policies by which sessions live: a node that starts with others ends what lives by the old ones.
create table sessions.policy (
    one_row boolean primary key default true check (one_row),
    hash    text not null
);
grant select, insert, update on sessions.policy to accessbroker;
