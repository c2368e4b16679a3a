-- The operation in words, for the agent to show; and what the card's key 9C signed about it.
alter table sign_in.transactions
    add column operation_text       text,
    add column approval_certificate bytea,
    add column approval_signed      bytea,
    add column approval_signature   bytea;
