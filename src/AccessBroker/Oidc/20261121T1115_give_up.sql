-- From when the patience with a relying party counts: the end of the session, or the moment somebody asked to try again. When the session ended stays as it was.
alter table oidc.logout_deliveries add column tried_since timestamptz not null default clock_timestamp();
update oidc.logout_deliveries set tried_since = ended_at;
