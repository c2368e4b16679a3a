-- Versions of the city's policies: all files as one, who proposed them, who approved them, and from when. Texts never change.
create schema policy_changes;
create table policy_changes.versions (
    id             bigint generated always as identity primary key,
    based_on       bigint references policy_changes.versions (id),
    hash           text not null,
    texts          jsonb not null,
    proposed_by    text not null,
    proposed_at    timestamptz not null,
    reason         text not null check (length(reason) <= 1000),
    approved_by    text,
    approved_at    timestamptz,
    effective_from timestamptz
);
create index on policy_changes.versions (effective_from) where approved_at is not null;
create index on policy_changes.versions (hash);
create table policy_changes.in_force (                       -- the version by which sessions live
    one_row boolean primary key default true check (one_row),
    version bigint not null references policy_changes.versions (id)
);
create function policy_changes.keep_text() returns trigger language plpgsql as $$
begin
    if new.hash <> old.hash or new.texts <> old.texts or old.approved_at is not null then raise exception 'versions of policies do not change'; end if;
    return new;
end $$;
create trigger keep_text before update on policy_changes.versions for each row execute function policy_changes.keep_text();
grant usage on schema policy_changes to accessbroker;
grant select, insert, update on policy_changes.versions, policy_changes.in_force to accessbroker;
