-- Employment changes from a day on, as names and posts do; the column of persons is the one they began with.
create table people.employments (
    person     text not null references people.persons (id),
    employment text not null check (employment in ('regular', 'temporary', 'contractor')),
    valid_from timestamptz not null,
    primary key (person, valid_from)
);
create function people.employment_at(who text, at timestamptz) returns text language sql stable parallel safe as $$
    select coalesce((select e.employment from people.employments e where e.person = who and e.valid_from <= at order by e.valid_from desc limit 1), (select p.employment from people.persons p where p.id = who))
$$;
grant select, insert, update on people.employments to accessbroker;
