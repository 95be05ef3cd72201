-- Tells version 5 that a table was truncated, for the syncs of which some reader has not heard of it.
--   {readable}   $1 int captured   $2 oid table   $3 text schema   $4 text name
INSERT INTO bucardo.bucardo_truncate_trigger (tablename, sname, tname, sync, cdate)
SELECT $2::oid, $3::text, $4::text, s.sync, max(d.txntime)
FROM bucardo.truncated AS d
JOIN bucardo.captured_sync AS s ON s.captured = d.captured
WHERE d.captured = $1
  AND EXISTS (
      SELECT FROM bucardo.track AS t
      WHERE t.sync = s.sync AND t.round NOT IN (-2, -3)
        AND NOT txid_visible_in_snapshot(d.txid, t.snapshot::txid_snapshot)
        AND (d.origin IS NULL OR split_part(d.origin, ' ', 1) <> s.sync
             OR d.origin = s.sync || ' ' || t.source || ' 0')
        AND {readable})
GROUP BY s.sync
