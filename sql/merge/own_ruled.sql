-- What this transaction captured of one table was ruled on: for the sync it is settled, for others a change as before.
--   {delta} {captured}   $1 bigint the transaction   $2 text origin
WITH delta AS (UPDATE {delta} SET origin = $2 WHERE txid = $1 AND origin IS NULL)
UPDATE bucardo.truncated SET origin = $2 WHERE txid = $1 AND origin IS NULL AND captured = {captured}
