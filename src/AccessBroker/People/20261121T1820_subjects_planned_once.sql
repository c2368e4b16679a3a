-- The same answer as before, planned once for each connection instead of at every call: file decisions ask it all the time.
create or replace function people.subjects_at(who text, at timestamptz) returns text[] language plpgsql stable parallel safe as $$
declare
    own text[]; posts bigint;
begin
    select array['person:' || who] || coalesce(array_agg(distinct v.s) filter (where v.s is not null), '{}'), count(*) into own, posts
      from people.posts q left join lateral (values ('section:' || q.section), ('post:' || q.section || '/' || q.post)) v (s) on q.section <> ''
     where q.person = who and q.valid_from <= at and (q.valid_until is null or q.valid_until > at);
    if posts = 0
        or not exists (select from people.persons p where p.id = who and p.valid_from <= at and (p.valid_until is null or p.valid_until > at))
        or exists (select from people.suspensions s where s.person = who and s.since <= at and (s.lifted_at is null or s.lifted_at > at)) then return '{}';
    end if;
    return own;
end $$;
create index on people.suspensions (person);
