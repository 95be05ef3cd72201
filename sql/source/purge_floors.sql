-- For each captured table the positions of all targets that want it: what is visible in every one of them has been
-- read by all. A table that no sync wants any more has the present as its only position.
--   ceiling: nothing from this transaction on can be visible in all
SELECT c.deltaname,
       coalesce(array_agg(DISTINCT t.snapshot) FILTER (WHERE t.snapshot IS NOT NULL),
                ARRAY[txid_current_snapshot()::text]) AS positions,
       coalesce(min(txid_snapshot_xmax(t.snapshot::txid_snapshot)),
                txid_snapshot_xmax(txid_current_snapshot())) AS ceiling
FROM bucardo.captured AS c
LEFT JOIN bucardo.captured_sync AS s ON s.captured = c.id
LEFT JOIN bucardo.track AS t ON t.sync = s.sync
GROUP BY c.id
ORDER BY c.id
