-- A lock is a fact of the moment in which it came about: neither a later role nor a later policy makes or unmakes it.
alter table lockout.counters add column locked_until timestamptz;
-- Locks in force when this came, by the limits that were shipped then: ordinary ones for their 30 minutes, those of privileged people until somebody unlocks.
update lockout.counters c set locked_until = failures[cardinality(failures)] + case when privileged then interval '100 years' else interval '30 minutes' end
from (select subject as of, subject not like 'terminal:%' and people.holds_any(split_part(split_part(subject, ':', 2), '@', 1), array['administrator', 'pin-manager', 'system-manager', 'security-chief', 'ciso', 'database-administrator', 'system-staff'], clock_timestamp()) as privileged from lockout.counters) judged
where judged.of = c.subject and cardinality(failures) >= case when subject like 'terminal:%' then 10 when subject like 'operator-at-terminal:%' then case when privileged then 2 else 3 end else case when privileged then 3 else 5 end end;
