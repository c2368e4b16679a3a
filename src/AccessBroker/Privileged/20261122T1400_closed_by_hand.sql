-- Work on a machine that is gone: who made sure that nothing of it runs, and how. Why it ended stays what it was.
alter table privileged.sessions
    add column closed_by   text,
    add column closed_note text,
    add constraint closed_by_somebody check ((closed_by is null) = (closed_note is null));
