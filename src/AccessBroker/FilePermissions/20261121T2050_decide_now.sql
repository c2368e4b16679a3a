-- The same decision as before; what is asked a thousand times, the present, looks at nothing past and sorts nothing: levels of one path are prefixes of each other, so the greatest is the deepest.
create or replace function file_permissions.decide(who text, what text, act text, at timestamptz, properties jsonb default '{}', out allowed boolean, out reason text, out grant_id bigint) language plpgsql stable parallel safe as $$
declare
    line text[] := file_permissions.chain(what);
    subjects text[] := people.subjects_at(who, at);
    past boolean := at < clock_timestamp() - interval '1 minute';
    class smallint; busy boolean; known boolean; owner text; named text; refused boolean;
begin
    if past then
        select max(case s.confidentiality when 0 then 3 else s.confidentiality end), false, count(*) > 0,
               (max(array[lpad(length(s.resource)::text, 5, '0'), s.section]) filter (where s.section is not null))[2], max(s.resource collate "C") filter (where s.named_only)
          into class, busy, known, owner, named from (
            select c.resource, c.section, c.named_only, c.confidentiality from file_permissions.sets c where c.resource = any(line) and c.since <= at
            union all select p.resource, p.section, p.named_only, p.confidentiality from file_permissions.past_sets p where p.resource = any(line) and p.valid_from <= at and p.valid_until > at) s;
        class := coalesce(class, 3);
        select bool_or(g.deny), min(g.id) filter (where not g.deny and g.up_to >= class and case when left(g.subject, 7) = 'person:' then named is null or length(g.resource) >= length(named)
                else named is null and (owner is null or 'section:' || owner = any(subjects)) and not (act = 'export' and class >= 2) end)
          into refused, grant_id from file_permissions.grants g
         where g.subject = any(subjects) and g.resource = any(line) and (g.ended_at is null or g.ended_at > at) and g.valid_from <= at and g.valid_until > at and act = any(g.actions)
           and case when g.conditions = '{}' then true else file_permissions.holds(g.conditions, who, properties) end;
    else
        select max(case s.confidentiality when 0 then 3 else s.confidentiality end), bool_or(s.batch_since is not null), count(*) > 0,
               (max(array[lpad(length(s.resource)::text, 5, '0'), s.section]) filter (where s.section is not null))[2], max(s.resource collate "C") filter (where s.named_only)
          into class, busy, known, owner, named from file_permissions.sets s where s.resource = any(line);
        class := coalesce(class, 3);
        select bool_or(g.deny), min(g.id) filter (where not g.deny and g.up_to >= class and case when left(g.subject, 7) = 'person:' then named is null or length(g.resource) >= length(named)
                else named is null and (owner is null or 'section:' || owner = any(subjects)) and not (act = 'export' and class >= 2) end)
          into refused, grant_id from file_permissions.grants g
         where g.subject = any(subjects) and g.resource = any(line) and g.ended_at is null and g.valid_from <= at and g.valid_until > at and act = any(g.actions)
           and case when g.conditions = '{}' then true else file_permissions.holds(g.conditions, who, properties) end;
    end if;
    if not known then grant_id := null; end if;
    if grant_id is null and not coalesce(refused, false) then allowed := false; reason := 'no-grant';
    elsif coalesce(refused, false) then allowed := false; reason := 'denied'; grant_id := null;
    elsif coalesce(busy, false) then allowed := false; reason := 'in-batch'; grant_id := null;
    else allowed := true; reason := 'granted'; end if;
end $$;
