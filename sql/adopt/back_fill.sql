-- What is undelivered, in the table that version 5 reads.
--   {kept_delta} {kept_keys} {keys}
INSERT INTO {kept_delta} ({kept_keys}, txntime) SELECT DISTINCT {keys}, b.txntime FROM bucardo_back AS b
