-- Changes of one table that this transaction captured: custom codes made them. They are the newest ones of their keys,
-- whatever the merge has written there before.
--   {delta}
UPDATE {delta}
SET txntime = greatest(clock_timestamp(),
                       (SELECT max(n.txntime) FROM {delta} AS n WHERE n.txid = txid_current())
                       + interval '1 microsecond')
WHERE txid = txid_current() AND origin IS NULL
