-- What a passkey signed about an operation; approval_signed and approval_signature stand for both.
alter table sign_in.transactions
    add column approval_key           bytea,
    add column approval_authenticator bytea,
    add column approval_client        bytea;
