-- A passkey signs as well: its key in place of a certificate, and what WebAuthn adds to the signed bytes.
alter table approvals.signatures
    alter column certificate drop not null,
    add column card          text,                      -- the key's number in the register of cards
    add column public_key    bytea,                     -- SubjectPublicKeyInfo, DER
    add column authenticator bytea,                     -- authenticatorData
    add column client        bytea,                     -- clientDataJSON; its challenge is SHA-256 of "signed"
    add constraint one_kind check (num_nonnulls(certificate, public_key) = 1 and num_nonnulls(card, public_key, authenticator, client) in (0, 4));
