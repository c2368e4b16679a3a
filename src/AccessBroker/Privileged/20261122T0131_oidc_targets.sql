-- A relying party as a target.
alter table privileged.sessions drop constraint sessions_kind_check;
alter table privileged.sessions add constraint sessions_kind_check check (kind in ('ssh', 'postgres', 'files', 'oidc'));
