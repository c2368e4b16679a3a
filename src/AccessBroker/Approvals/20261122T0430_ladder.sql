-- How often those who could approve were reminded: at first they, then also those who can appoint deputies.
alter table approvals.requests add column reminders integer not null default 0, add column reminded_at timestamptz;
grant update (reminders, reminded_at) on approvals.requests to accessbroker;
