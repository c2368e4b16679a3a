-- Each wrong PIN is proven by the card itself, with a nonce of its own.
alter table sign_in.transactions add column failures integer not null default 0;
