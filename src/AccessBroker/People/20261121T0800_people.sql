-- Names, sections and posts are effective-dated: a row is closed and a new one begun, so that any past day resolves. Suspensions end by a row of their own.
create table people.names (
    person      text not null references people.persons (id),
    name        text not null check (length(name) between 1 and 200),
    kana        text not null default '',             -- full-width katakana, for search
    valid_from  timestamptz not null,
    valid_until timestamptz,
    primary key (person, valid_from)
);
insert into people.names (person, name, valid_from) select id, name, valid_from from people.persons;
alter table people.persons drop column name,
    add column staff_number text,                     -- 職員番号; never reused, MIC 5.4(2)①
    add column employment   text not null default 'regular' check (employment in ('regular', 'temporary', 'contractor')),
    add column mail         text;
create unique index on people.persons (staff_number);
alter table people.posts drop constraint posts_pkey, add primary key (person, post, section, role, valid_from);
create table people.sections (
    code        text not null,
    name        text not null,
    valid_from  timestamptz not null,
    valid_until timestamptz,
    primary key (code, valid_from)
);
create table people.suspensions (
    id         bigint generated always as identity primary key,
    person     text not null references people.persons (id),
    by_person  text not null,
    reason     text not null,
    since      timestamptz not null,
    lifted_at  timestamptz,
    lifted_by  text
);
create index on people.suspensions (person) where lifted_at is null;
create index on people.posts (role, valid_from);
create index on people.names (kana text_pattern_ops);
grant select, insert, update on people.names, people.sections, people.suspensions to accessbroker;

-- What other slices ask inside their own statements.
create function people.valid_at(who text, at timestamptz) returns boolean language sql stable parallel safe as $$
    select exists (select from people.persons p join people.posts q on q.person = p.id
        where p.id = who and p.valid_from <= at and (p.valid_until is null or p.valid_until > at) and q.valid_from <= at and (q.valid_until is null or q.valid_until > at))
       and not exists (select from people.suspensions s where s.person = who and s.since <= at and (s.lifted_at is null or s.lifted_at > at)) $$;
create function people.holds_any(who text, roles text[], at timestamptz) returns boolean language sql stable parallel safe as $$
    select exists (select from people.posts q where q.person = who and q.role = any(roles) and q.valid_from <= at and (q.valid_until is null or q.valid_until > at)) $$;
create function people.name_at(who text, at timestamptz) returns text language sql stable parallel safe as $$
    select n.name from people.names n where n.person = who and n.valid_from <= at order by n.valid_from desc limit 1 $$;
create function people.section_name(section text, at timestamptz) returns text language sql stable parallel safe as $$
    select coalesce((select s.name from people.sections s where s.code = section and s.valid_from <= at order by s.valid_from desc limit 1), section) $$;
create function people.mail_of(who text) returns text language sql stable parallel safe as $$ select mail from people.persons where id = who $$;
