-- The privileged work a permission belongs to; it was the beginning of the reason.
alter table file_permissions.grants add column holder text;
update file_permissions.grants set holder = split_part(reason, ': ', 1) where request is null and subject like 'person:%' and reason ~ '^ps[0-9a-f]{20}: ';
create index on file_permissions.grants (holder) where holder is not null;
