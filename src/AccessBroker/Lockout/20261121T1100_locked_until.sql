-- A lock is a fact of the moment in which it came about: neither a later role nor a later policy makes or unmakes it.
alter table lockout.counters add column locked_until timestamptz;
-- Of counters from before nobody knows by which limit they were judged: whoever failed lately waits the longest ordinary time.
update lockout.counters set locked_until = failures[cardinality(failures)] + interval '24 hours' where cardinality(failures) > 1;
