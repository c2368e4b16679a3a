-- Who acts as any of these subjects: asked from the grants' side, instead of asking everybody.
create function people.acting_as(subjects text[], at timestamptz) returns text[] language sql stable as $$
    select coalesce(array_agg(distinct w.who), '{}') from (
        select substr(s, 8) who from unnest(subjects) s where left(s, 7) = 'person:'
        union select q.person from people.posts q where q.section <> '' and q.valid_from <= at and (q.valid_until is null or q.valid_until > at)
            and ('section:' || q.section = any(subjects) or 'post:' || q.section || '/' || q.post = any(subjects))) w
     where people.valid_at(w.who, at) $$;

-- The number changes at the commit, not at the first row: while a long roster is written, a suspension must not wait for it.
drop trigger note_change on people.persons;
drop trigger note_change on people.posts;
drop trigger note_change on people.suspensions;
create constraint trigger note_change after insert or update or delete on people.persons deferrable initially deferred for each row execute function people.note_change();
create constraint trigger note_change after insert or update or delete on people.posts deferrable initially deferred for each row execute function people.note_change();
create constraint trigger note_change after insert or update or delete on people.suspensions deferrable initially deferred for each row execute function people.note_change();
