-- "Failures since" is asked at every sign-in; refusals are few.
create index on history.events (person, at) where outcome = 'refused';
