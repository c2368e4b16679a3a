-- How far a terminal's clock was off when it last attached (CLK-01): terminal minus broker.
alter table terminals.terminals add column clock_offset_ms bigint;
