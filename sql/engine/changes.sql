-- How many unread changes of one table the round takes.
--   {delta} {readable}
SELECT count(*) AS changes
FROM {delta}
WHERE txid >= current_setting('bucardo.since_xmin')::bigint
  AND NOT txid_visible_in_snapshot(txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
  AND txid_visible_in_snapshot(txid, (SELECT current_setting('bucardo.upto')::txid_snapshot))
  AND {readable}
