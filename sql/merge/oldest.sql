-- When the oldest change was made that somebody has not read. Others may be among them that all have read, which makes it
-- older at worst.
--   {delta}
SELECT round(date_part('epoch', min(d.txntime)) * 1000000)::bigint AS oldest
FROM {delta} AS d
WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
