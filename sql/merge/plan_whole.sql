-- For the rest of the transaction: what is read as a whole is read from end to end, and nothing older than this.
--   {floor} a time, as a literal
SET LOCAL enable_seqscan = on;
SET LOCAL bucardo.floor = {floor}
