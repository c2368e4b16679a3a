-- The same decision as before, planned once for each connection.
create or replace function file_permissions.chain(what text) returns text[] language plpgsql immutable strict parallel safe as $$
declare
    line text[] := array['/']; slash integer := 1; next integer;
begin
    if what = '/' then return line; end if;
    if left(what, 1) <> '/' then
        return case when position(':' in what) = length(what) then array[what] else array[left(what, position(':' in what)), what] end;
    end if;
    loop
        next := position('/' in substr(what, slash + 1));
        if next = 0 then return line || what; end if;
        slash := slash + next;
        line := line || left(what, slash - 1);
    end loop;
end $$;

create or replace function file_permissions.decide(who text, what text, act text, at timestamptz, properties jsonb default '{}', out allowed boolean, out reason text, out grant_id bigint) language plpgsql stable parallel safe as $$
declare
    line text[] := file_permissions.chain(what);
    subjects text[] := people.subjects_at(who, at);
    class smallint; busy boolean; known boolean; owner text; named text; refused boolean;
begin
    select max(case s.confidentiality when 0 then 3 else s.confidentiality end), bool_or(s.batch_since is not null), count(*) > 0,
           (array_agg(s.section order by length(s.resource) desc) filter (where s.section is not null))[1],
           (array_agg(s.resource order by length(s.resource) desc) filter (where s.named_only))[1]
      into class, busy, known, owner, named from file_permissions.sets s where s.resource = any(line);
    class := coalesce(class, 3);
    select bool_or(g.deny), min(g.id) filter (where not g.deny and g.up_to >= class and case when left(g.subject, 7) = 'person:' then named is null or length(g.resource) >= length(named)
            else named is null and (owner is null or 'section:' || owner = any(subjects)) and not (act = 'export' and class >= 2) end)
      into refused, grant_id from file_permissions.grants g
     where g.subject = any(subjects) and g.resource = any(line) and g.ended_at is null and g.valid_from <= at and g.valid_until > at and act = any(g.actions)
       and case when g.conditions = '{}' then true else file_permissions.holds(g.conditions, who, properties) end;
    if not known then grant_id := null; end if;
    if grant_id is null and not coalesce(refused, false) then allowed := false; reason := 'no-grant';
    elsif coalesce(refused, false) then allowed := false; reason := 'denied'; grant_id := null;
    elsif busy then allowed := false; reason := 'in-batch'; grant_id := null;
    else allowed := true; reason := 'granted'; end if;
end $$;
