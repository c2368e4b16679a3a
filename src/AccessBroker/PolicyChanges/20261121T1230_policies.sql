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
    effective_from timestamptz,
    cancelled_by   text,                               -- approved, and withdrawn before its day
    cancelled_at   timestamptz
);
create index on policy_changes.versions (effective_from) where approved_at is not null;
create index on policy_changes.versions (hash);
create table policy_changes.in_force (                       -- the version by which sessions live
    one_row boolean primary key default true check (one_row),
    version bigint not null references policy_changes.versions (id)
);
create function policy_changes.keep_text() returns trigger language plpgsql as $$
begin
    if new.hash <> old.hash or new.texts <> old.texts or new.proposed_by <> old.proposed_by or new.based_on is distinct from old.based_on then raise exception 'versions of policies do not change'; end if;
    if old.approved_at is not null and (new.approved_by, new.approved_at, new.effective_from) is distinct from (old.approved_by, old.approved_at, old.effective_from) then raise exception 'what was approved stays so'; end if;
    if new.cancelled_at is not null and (old.cancelled_at is not null or old.effective_from is null or old.effective_from <= clock_timestamp()) then raise exception 'what is in force is not withdrawn'; end if;
    return new;
end $$;
create function policy_changes.begin_as_proposal() returns trigger language plpgsql as $$
begin
    if new.approved_at is not null or new.approved_by is not null or new.effective_from is not null then raise exception 'a version begins as a proposal'; end if;
    return new;
end $$;
create trigger begin_as_proposal before insert on policy_changes.versions for each row execute function policy_changes.begin_as_proposal();
create trigger keep_text before update on policy_changes.versions for each row execute function policy_changes.keep_text();
grant usage on schema policy_changes to accessbroker;
grant select, insert, update on policy_changes.versions, policy_changes.in_force to accessbroker;
