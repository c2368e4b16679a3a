-- Emergency stops ordered on a card while the database was away: as the targets obeyed them.
create table privileged.stop_orders (
    nonce      text not null,
    target     text not null,
    at         timestamptz not null,
    order_text text not null,
    key        bytea not null,
    signature  bytea not null,
    primary key (nonce, target)
);
grant select, insert on privileged.stop_orders to accessbroker;
