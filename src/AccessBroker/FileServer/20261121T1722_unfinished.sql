-- What is decided and recorded, and may not be done on the disk yet: finished again after a crash.
create table file_server.unfinished (
    id     bigint generated always as identity primary key,
    path   text not null,
    beside text,                                       -- the synced file that takes the path's place; null: the path goes
    at     timestamptz not null
);
create index on file_server.unfinished (path);
grant select, insert, delete, update on file_server.unfinished to accessbroker;
