-- Who may watch two-person work: proven with card and PIN for exactly this work. And reviews that found something.
create table privileged.seats (
    token_hash bytea primary key check (length(token_hash) = 32),
    session    text not null references privileged.sessions (id),
    person     text not null,
    sign_in    text not null,
    at         timestamptz not null
);
create table privileged.looks (                        -- who has opened a recording
    session text not null references privileged.sessions (id),
    person  text not null,
    at      timestamptz not null,
    primary key (session, person)
);
alter table privileged.sessions add column concern boolean;    -- the reviewer found something that is not right
grant select, insert on privileged.seats to accessbroker;
grant select, insert, update on privileged.looks to accessbroker;
