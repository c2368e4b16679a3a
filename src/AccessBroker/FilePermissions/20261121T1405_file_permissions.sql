-- Who may do what with which files (MOJ 第5-4(4)): sets with classification, grants, and the one decision that every door gives.
create schema file_permissions;
create table file_permissions.sets (                   -- a directory and everything below it, or one file; of another type: 'type:' and 'type:id'
    resource        text primary key check (length(resource) <= 4096),
    title           text not null check (length(title) between 1 and 200),
    section         text,                              -- whose it is: grants to other sections and posts do not count; null: as above
    named_only      boolean not null default false,    -- people in charge by name only (MIC 6.1(2)③)
    confidentiality smallint check (confidentiality between 0 and 3),  -- 機密性; 0: undetermined, counts as 3 until somebody decides; null: as above
    integrity       smallint check (integrity between 1 and 2),
    availability    smallint check (availability between 1 and 2),
    batch_since     timestamptz,                       -- hidden while a bulk update runs (MOJ 第5-8(2)ア)
    created_at      timestamptz not null,
    created_by      text not null
);
create table file_permissions.grants (
    id           bigint generated always as identity primary key,
    resource     text not null references file_permissions.sets (resource),
    subject      text not null,                        -- person:ID, section:CODE, post:SECTION/POST
    actions      text[] not null check (cardinality(actions) > 0),
    deny         boolean not null default false,
    up_to        smallint not null default 3 check (up_to between 1 and 3),  -- highest 機密性 it reaches
    conditions   jsonb not null default '{}',          -- of properties an enforcement point sends: {"resource.status": "archived"}
    valid_from   timestamptz not null,
    valid_until  timestamptz not null check (valid_until > valid_from),
    ended_at     timestamptz,
    ended_by     text,
    reason       text not null,
    requested_by text not null,
    approved_by  text not null,
    request      bigint
);
create index on file_permissions.grants (subject, resource) where ended_at is null;
create index on file_permissions.grants (resource) where ended_at is null;
create table file_permissions.uses (                   -- when a right was last used, to the hour: unused ones are found at the review
    grant_id bigint not null,
    person   text not null,
    action   text not null,
    used_at  timestamptz not null,
    primary key (grant_id, person, action)
);
create table file_permissions.enforcers (              -- enforcement points that may ask over AuthZEN
    name        text primary key,
    secret_hash bytea not null unique,
    created_at  timestamptz not null,
    revoked_at  timestamptz
);
create table file_permissions.epoch (one_row boolean primary key default true check (one_row), value bigint not null);
insert into file_permissions.epoch (value) values (1);
-- Once a transaction: a roster of ten thousand people is one change, not thirty thousand versions of one row.
create function file_permissions.note_change() returns trigger language plpgsql security definer set search_path = file_permissions as $$
begin
    if coalesce(current_setting('accessbroker.file_permissions_noted', true), '') <> pg_current_xact_id()::text then
        update file_permissions.epoch set value = value + 1;
        perform set_config('accessbroker.file_permissions_noted', pg_current_xact_id()::text, true);
    end if;
    return null;
end $$;
create trigger note_change after insert or update or delete on file_permissions.sets for each statement execute function file_permissions.note_change();
create trigger note_change after insert or update or delete on file_permissions.grants for each statement execute function file_permissions.note_change();

create function file_permissions.chain(what text) returns text[] language sql immutable strict parallel safe as $$
    select case when what = '/' then array['/']
        when left(what, 1) = '/' then array['/'] || (select array_agg(array_to_string(parts[1:n], '/') order by n) from string_to_array(what, '/') parts, generate_series(2, cardinality(string_to_array(what, '/'))) n)
        when position(':' in what) = length(what) then array[what]
        else array[left(what, position(':' in what)), what] end $$;

create function file_permissions.holds(conditions jsonb, who text, properties jsonb) returns boolean language sql immutable parallel safe as $$
    select conditions = '{}' or not exists (select from jsonb_each(conditions) c
        where coalesce(jsonb_typeof(properties #> string_to_array(c.key, '.')), '') not in ('string', 'boolean')
           or properties #>> string_to_array(c.key, '.') is distinct from (case when c.value = '"$subject.id"' then who else c.value #>> '{}' end)) $$;

-- The decision. Unknown people, unknown resources and missing grants are one answer.
create function file_permissions.decide(who text, what text, act text, at timestamptz, properties jsonb default '{}', out allowed boolean, out reason text, out grant_id bigint) language plpgsql stable parallel safe as $$
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
     where g.subject = any(subjects) and g.resource = any(line) and g.ended_at is null and g.valid_from <= at and g.valid_until > at and act = any(g.actions) and file_permissions.holds(g.conditions, who, properties);
    if not known then grant_id := null; end if;
    if grant_id is null and not coalesce(refused, false) then allowed := false; reason := 'no-grant';
    elsif coalesce(refused, false) then allowed := false; reason := 'denied'; grant_id := null;
    elsif busy then allowed := false; reason := 'in-batch'; grant_id := null;
    else allowed := true; reason := 'granted'; end if;
end $$;

-- What is stored at the file server. Without an operator in the session nobody sees a row, whatever they may otherwise do.
create table file_permissions.files (
    path       text primary key check (length(path) <= 4096),
    bytes      bigint not null,
    sha256     text not null,
    version    integer not null,
    changed_by text not null,
    changed_at timestamptz not null
);
create function file_permissions.me() returns text language sql stable as $$ select nullif(current_setting('accessbroker.operator', true), '') $$;
create function file_permissions.may(act text, what text) returns boolean language sql stable as $$ select coalesce((file_permissions.decide(file_permissions.me(), what, act, clock_timestamp())).allowed, false) $$;
alter table file_permissions.files enable row level security;
create policy reads on file_permissions.files for select using (file_permissions.may('read', path) or file_permissions.may('write', path));
create policy writes on file_permissions.files for insert with check (file_permissions.may('write', path));
create policy changes on file_permissions.files for update using (file_permissions.may('write', path)) with check (file_permissions.may('write', path));
create policy deletes on file_permissions.files for delete using (file_permissions.may('delete', path));

grant usage on schema file_permissions to accessbroker;
grant select, insert, update on file_permissions.sets, file_permissions.grants, file_permissions.uses to accessbroker;
grant select on file_permissions.epoch, file_permissions.enforcers to accessbroker;
grant select, insert, update, delete on file_permissions.files to accessbroker;
