-- Every truncation that is kept of the tables of which somebody has not read one.
--   {readable}   $1 int[] captured tables
SELECT d.captured, d.txid, {micros} AS micros, d.origin
FROM bucardo.truncated AS d
WHERE {readable}
  AND d.captured = ANY ($1)
  AND d.captured IN (
      SELECT u.captured FROM bucardo.truncated AS u
      WHERE u.txid >= current_setting('bucardo.since_xmin')::bigint
        AND NOT txid_visible_in_snapshot(u.txid, (SELECT current_setting('bucardo.since')::txid_snapshot)))
