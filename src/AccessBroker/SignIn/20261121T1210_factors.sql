-- What the relying party asked for, and what was proven: a session says no more than that.
alter table sign_in.transactions
    add column wanted   text,                              -- acr_values, the one that counts (RFC 9470)
    add column acr      text,
    add column amr      text[],
    add column attested boolean not null default false;
