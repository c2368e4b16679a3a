-- What was read, or is older than a year, goes: notices point at records, they are none.
grant delete on notices.notices, notices.deliveries to accessbroker;
