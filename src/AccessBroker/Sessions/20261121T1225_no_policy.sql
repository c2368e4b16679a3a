-- By which policies sessions live is known to PolicyChanges now.
drop table sessions.policy;
