-- A proof for one operation: the transaction carries what was shown and the hash of exactly that; it is good for it once.
alter table sign_in.transactions
    add column operation    text,                          -- hash of the canonical operation, hex
    add column confirmed_at timestamptz;                   -- when the proof was used up
