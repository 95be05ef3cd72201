-- What is undelivered of a table, sync by sync, for the way back: changes that some reader has not read, without those
-- that the sync itself brought here, since the Perl program keeps these where they were made.
--   {delta} {keys} {id} {readable}
CREATE TEMPORARY TABLE bucardo_back ON COMMIT DROP AS
SELECT DISTINCT {keys}, d.txntime, s.sync AS bucardo_sync
FROM {delta} AS d
JOIN bucardo.captured_sync AS s ON s.captured = {id}
WHERE EXISTS (
    SELECT FROM bucardo.track AS t
    WHERE t.sync = s.sync AND t.round NOT IN (-2, -3)
      AND (NOT txid_visible_in_snapshot(d.txid, t.snapshot::txid_snapshot)
           OR EXISTS (SELECT FROM bucardo.quarantined AS q
                      WHERE q.sync = t.sync AND q.target = t.target AND q.captured = {id}
                        AND NOT txid_visible_in_snapshot(d.txid, q.snapshot::txid_snapshot)))
      AND (d.origin IS NULL OR split_part(d.origin, ' ', 1) <> s.sync OR d.origin = s.sync || ' ' || t.source || ' 0')
      AND {readable})
