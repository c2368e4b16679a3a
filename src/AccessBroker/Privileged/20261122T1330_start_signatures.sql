-- What whoever began privileged work signed with card or passkey: an emergency has no approval, and this is all there is. Added only. Columns as in approvals.signatures.
create table privileged.signatures (
    session       text primary key references privileged.sessions (id),
    document      text not null,
    signed        bytea not null,
    signature     bytea not null,
    certificate   bytea,
    card          text,
    public_key    bytea,
    authenticator bytea,
    client        bytea,
    constraint one_kind check (num_nonnulls(certificate, public_key) = 1 and num_nonnulls(card, public_key, authenticator, client) in (0, 4))
);
grant select, insert on privileged.signatures to accessbroker;
