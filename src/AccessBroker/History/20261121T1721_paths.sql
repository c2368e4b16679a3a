-- Who used a file, or anything below a folder: the report to the managers whose it is (MIC 2(2)①).
create index on history.events ((details->>'path') text_pattern_ops, id) where details ? 'path';
