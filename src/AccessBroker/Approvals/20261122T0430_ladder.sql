-- How often those who could approve were reminded, when last, and for how many decisions somebody looked whether there is anybody.
alter table approvals.requests add column reminders integer not null default 0, add column reminded_at timestamptz, add column looked_at integer not null default -1;
grant update (reminders, reminded_at, looked_at) on approvals.requests to accessbroker;
create index on approvals.requests (requested_at) where state = 'open';
