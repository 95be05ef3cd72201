-- Keys of one table that somebody has not read, for custom codes.
--   {keys} {delta} {readable}   $1 bigint how many at most
SELECT DISTINCT {keys}
FROM {delta} AS d
WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
  AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
  AND {readable}
LIMIT $1
