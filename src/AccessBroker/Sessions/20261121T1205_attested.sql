-- A passkey whose model is known and trusted has proven more than another.
alter table sessions.sessions add column attested boolean not null default false;
