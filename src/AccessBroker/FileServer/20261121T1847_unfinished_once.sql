-- One change of a path at a time waits; it is done once.
delete from file_server.unfinished u using file_server.unfinished later where later.path = u.path and later.id > u.id;
create unique index on file_server.unfinished (path);
