-- Failure counters with a sliding window. Judged by the database's clock; the version column guards an unlock.
create schema lockout;
create table lockout.counters (
    subject  text primary key,                        -- terminal:T · operator:P · operator-at-terminal:P@T
    failures timestamptz[] not null,                  -- newest last, at most the limit's count
    failed_by text[] not null,                        -- the person behind each failure, '' when unknown
    version  bigint not null default 1
);
grant usage on schema lockout to accessbroker;
grant select, insert, update, delete on lockout.counters to accessbroker;
