-- Captured tables that were truncated since.
SELECT DISTINCT d.captured
FROM bucardo.truncated AS d
WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
  AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
