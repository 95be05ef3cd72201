-- Captured tables that were truncated since, whether that is news, and with which origin it is handed on.
--   {readable} {handed_on}
SELECT d.captured, {readable} AS news, {handed_on} AS origin, max(d.txntime) AS txntime
FROM bucardo.truncated AS d
WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
  AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
GROUP BY 1, 2, 3
