-- Bulk updates: their place is hidden until they are committed, also when the program that ran them is gone (MOJ 第5-8(2)ア). And reviews of grants.
alter table file_permissions.enforcers add column batches text;   -- below here this program may run bulk updates; null: nowhere
create table file_permissions.batches (
    id         bigint generated always as identity primary key,
    resource   text not null references file_permissions.sets (resource),
    enforcer   text not null references file_permissions.enforcers (name),
    purpose    text not null check (length(purpose) between 2 and 400),
    token_hash bytea not null unique,
    begun_at   timestamptz not null,
    due_at     timestamptz not null check (due_at > begun_at),
    told_at    timestamptz,                            -- somebody was told that it is overdue
    ended_at   timestamptz,
    ended_by   text,                                   -- the program that committed, or the person who released it
    outcome    text check (outcome in ('committed', 'released')),
    note       text,
    check ((ended_at is null) = (outcome is null))
);
create unique index on file_permissions.batches (resource) where ended_at is null;
grant select, insert, update on file_permissions.batches to accessbroker;

alter table file_permissions.grants add column reviewed_at timestamptz, add column reviewed_by text, add column review_told_at timestamptz;
-- A review changes nobody's right: it is no reason to read all rights anew.
drop trigger note_change on file_permissions.grants;
create trigger note_change after insert or delete or update of resource, subject, actions, deny, up_to, conditions, valid_from, valid_until, ended_at on file_permissions.grants for each statement execute function file_permissions.note_change();
-- Sets are read anew only when they have changed themselves: there can be many.
alter table file_permissions.epoch add column sets bigint not null default 1;
create function file_permissions.note_set_change() returns trigger language plpgsql security definer set search_path = file_permissions as $$
begin
    if coalesce(current_setting('accessbroker.file_sets_noted', true), '') <> pg_current_xact_id()::text then
        update file_permissions.epoch set sets = sets + 1;
        perform set_config('accessbroker.file_sets_noted', pg_current_xact_id()::text, true);
    end if;
    return null;
end $$;
create trigger note_set_change after insert or update or delete on file_permissions.sets for each statement execute function file_permissions.note_set_change();
