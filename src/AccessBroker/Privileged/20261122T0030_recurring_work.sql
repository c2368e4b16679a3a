-- Recurring work: one approval, one session for each opening of its window, until the agreed day.
alter table privileged.sessions add column occurrence date;    -- the day of the window; null: not recurring
drop index privileged.sessions_request_idx;
create unique index on privileged.sessions (request, coalesce(occurrence, '-infinity'::date)) where request is not null;
