-- Post → person → role, effective-dated. Every conflict is judged on the person.
create schema people;
create table people.persons (
    id          text primary key,
    name        text not null,
    valid_from  timestamptz not null,
    valid_until timestamptz
);
create table people.posts (
    person      text not null references people.persons (id),
    post        text not null,
    section     text not null,
    role        text not null,
    valid_from  timestamptz not null,
    valid_until timestamptz,
    primary key (person, post, valid_from)
);
grant usage on schema people to accessbroker;
grant select, insert, update on people.persons, people.posts to accessbroker;
