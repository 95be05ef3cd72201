-- The unread txids of one table.
--   {delta} {readable}
SELECT d.txid
FROM {delta} AS d
WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
  AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
  AND {readable}
