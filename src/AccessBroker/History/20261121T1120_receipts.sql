-- Receipt numbers are looked up by whoever is called.
create index events_receipt on history.events (receipt) where receipt is not null;
