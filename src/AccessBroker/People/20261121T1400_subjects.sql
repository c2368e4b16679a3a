-- As whom somebody may be granted something: the person, their sections and posts; and a number that changes whenever that may have changed.
create function people.subjects_at(who text, at timestamptz) returns text[] language sql stable parallel safe as $$
    select case when people.valid_at(who, at) then array['person:' || who] || coalesce((select array_agg(distinct s) from people.posts q, lateral (values ('section:' || q.section), ('post:' || q.section || '/' || q.post)) v (s)
        where q.person = who and q.section <> '' and q.valid_from <= at and (q.valid_until is null or q.valid_until > at)), '{}') else '{}'::text[] end $$;

-- When the answer above will change by itself; null: not as far as is known.
create function people.next_change(who text, at timestamptz) returns timestamptz language sql stable parallel safe as $$
    select min(t) from (
        select v.t from people.persons p, lateral (values (p.valid_from), (p.valid_until)) v (t) where p.id = who
        union all select v.t from people.posts q, lateral (values (q.valid_from), (q.valid_until)) v (t) where q.person = who
        union all select v.t from people.suspensions s, lateral (values (s.since), (s.lifted_at)) v (t) where s.person = who) all_of_them where t > at $$;

create function people.valid_ids(at timestamptz) returns text[] language sql stable as $$ select coalesce(array_agg(p.id), '{}') from people.persons p where people.valid_at(p.id, at) $$;

create table people.epoch (one_row boolean primary key default true check (one_row), value bigint not null);
insert into people.epoch (value) values (1);
-- Once a transaction: a roster of ten thousand people is one change, not thirty thousand versions of one row.
create function people.note_change() returns trigger language plpgsql security definer set search_path = people as $$
begin
    if coalesce(current_setting('accessbroker.people_noted', true), '') <> pg_current_xact_id()::text then
        update people.epoch set value = value + 1;
        perform set_config('accessbroker.people_noted', pg_current_xact_id()::text, true);
    end if;
    return null;
end $$;
create trigger note_change after insert or update or delete on people.persons for each statement execute function people.note_change();
create trigger note_change after insert or update or delete on people.posts for each statement execute function people.note_change();
create trigger note_change after insert or update or delete on people.suspensions for each statement execute function people.note_change();
create function people.epoch_now() returns bigint language sql stable as $$ select value from people.epoch $$;
grant select on people.epoch to accessbroker;
