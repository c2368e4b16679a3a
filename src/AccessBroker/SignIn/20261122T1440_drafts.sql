-- What was typed before a confirmation was asked for, to be there again afterwards: never in an address.
alter table sign_in.transactions add column draft text;
