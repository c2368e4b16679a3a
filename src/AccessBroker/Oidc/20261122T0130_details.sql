-- Rich authorization requests (RFC 9396): a code or token that stands for one privileged work lives no longer than it.
alter table oidc.codes add column detail text;
alter table oidc.access_tokens add column detail text;
