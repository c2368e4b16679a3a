-- A temporary password was right, and so was the code: the page asks for a password of one's own before anything else.
alter table sign_in.transactions
    drop constraint transactions_state_check,
    add constraint transactions_state_check check (state in ('open', 'handed', 'claimed', 'pin', 'new-password', 'proven', 'completed', 'refused', 'locked', 'cancelled'));
