-- Past days: what a place was then, and grants that have ended since.
alter table file_permissions.sets add column since timestamptz not null default clock_timestamp();
update file_permissions.sets set since = created_at;
create table file_permissions.past_sets (
    resource        text not null,
    section         text,
    named_only      boolean not null,
    confidentiality smallint,
    valid_from      timestamptz not null,
    valid_until     timestamptz not null
);
create index on file_permissions.past_sets (resource, valid_from);
grant select on file_permissions.past_sets to accessbroker;
create function file_permissions.keep_past() returns trigger language plpgsql security definer set search_path = file_permissions as $$
begin
    if (old.section, old.named_only, old.confidentiality) is distinct from (new.section, new.named_only, new.confidentiality) then
        new.since := clock_timestamp();
        insert into file_permissions.past_sets values (old.resource, old.section, old.named_only, old.confidentiality, old.since, new.since);
    end if;
    return new;
end $$;
create trigger keep_past before update on file_permissions.sets for each row execute function file_permissions.keep_past();
alter table file_permissions.grants add check (jsonb_typeof(conditions) = 'object');
create index on file_permissions.grants (resource, subject) where ended_at is not null;
create index on file_permissions.grants (coalesce(reviewed_at, valid_from)) where ended_at is null;

drop trigger note_change on file_permissions.sets;
drop trigger note_change on file_permissions.grants;
drop trigger note_set_change on file_permissions.sets;
create constraint trigger note_change after insert or update or delete on file_permissions.sets deferrable initially deferred for each row execute function file_permissions.note_change();
create constraint trigger note_set_change after insert or update or delete on file_permissions.sets deferrable initially deferred for each row execute function file_permissions.note_set_change();
create constraint trigger note_change after insert or delete or update of resource, subject, actions, deny, up_to, conditions, valid_from, valid_until, ended_at on file_permissions.grants deferrable initially deferred for each row execute function file_permissions.note_change();

-- A day that is over is judged by what was in force on it; the last minute and later by what is. Bulk updates are never looked at afterwards.
create or replace function file_permissions.decide(who text, what text, act text, at timestamptz, properties jsonb default '{}', out allowed boolean, out reason text, out grant_id bigint) language plpgsql stable parallel safe as $$
declare
    line text[] := file_permissions.chain(what);
    subjects text[] := people.subjects_at(who, at);
    past boolean := at < clock_timestamp() - interval '1 minute';
    class smallint; busy boolean; known boolean; owner text; named text; refused boolean;
begin
    select max(case s.confidentiality when 0 then 3 else s.confidentiality end), coalesce(bool_or(s.busy), false), count(*) > 0,
           (array_agg(s.section order by length(s.resource) desc) filter (where s.section is not null))[1],
           (array_agg(s.resource order by length(s.resource) desc) filter (where s.named_only))[1]
      into class, busy, known, owner, named from (
        select c.resource, c.section, c.named_only, c.confidentiality, c.batch_since is not null and not past as busy from file_permissions.sets c where c.resource = any(line) and (not past or c.since <= at)
        union all select p.resource, p.section, p.named_only, p.confidentiality, false from file_permissions.past_sets p where past and p.resource = any(line) and p.valid_from <= at and p.valid_until > at) s;
    class := coalesce(class, 3);
    select bool_or(g.deny), min(g.id) filter (where not g.deny and g.up_to >= class and case when left(g.subject, 7) = 'person:' then named is null or length(g.resource) >= length(named)
            else named is null and (owner is null or 'section:' || owner = any(subjects)) and not (act = 'export' and class >= 2) end)
      into refused, grant_id from (
        select * from file_permissions.grants c where c.subject = any(subjects) and c.resource = any(line) and c.ended_at is null
        union all select * from file_permissions.grants e where past and e.subject = any(subjects) and e.resource = any(line) and e.ended_at > at) g
     where g.valid_from <= at and g.valid_until > at and act = any(g.actions)
       and case when g.conditions = '{}' then true else file_permissions.holds(g.conditions, who, properties) end;
    if not known then grant_id := null; end if;
    if grant_id is null and not coalesce(refused, false) then allowed := false; reason := 'no-grant';
    elsif coalesce(refused, false) then allowed := false; reason := 'denied'; grant_id := null;
    elsif busy then allowed := false; reason := 'in-batch'; grant_id := null;
    else allowed := true; reason := 'granted'; end if;
end $$;

-- Who may only delete finds the row to delete as well.
alter policy reads on file_permissions.files using (file_permissions.may('read', path) or file_permissions.may('write', path) or file_permissions.may('delete', path));
