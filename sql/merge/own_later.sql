-- Whether this transaction captured changes of one table that were not ruled on: custom codes made them. They are the
-- newest ones of their keys, whatever the merge has written there before.
--   {delta} {captured}
WITH newest AS (
    UPDATE {delta}
    SET txntime = greatest(clock_timestamp(),
                           (SELECT max(n.txntime) FROM {delta} AS n WHERE n.txid = txid_current())
                           + interval '1 microsecond')
    WHERE txid = txid_current() AND origin IS NULL
    RETURNING 1)
SELECT EXISTS (SELECT FROM newest)
    OR EXISTS (SELECT FROM bucardo.truncated
               WHERE txid = txid_current() AND origin IS NULL AND captured = {captured}) AS any
