-- For each captured table the positions of all targets that want it: what is visible in every one of them has been
-- read by all. Where a target has put it aside, also the one at which it stopped. A table that no sync wants any more
-- has the present as its only position. Readers that were given up (round -2, -3) hold nothing back.
--   ceiling: nothing from this transaction on can be visible in all
SELECT c.deltaname, c.schemaname, c.tablename,
       coalesce(array_agg(DISTINCT s.sync) FILTER (WHERE s.sync IS NOT NULL), '{}') AS syncs,
       coalesce(array_agg(DISTINCT t.snapshot) FILTER (WHERE t.snapshot IS NOT NULL),
                ARRAY[txid_current_snapshot()::text]) AS positions,
       coalesce(min(txid_snapshot_xmax(t.snapshot::txid_snapshot)),
                txid_snapshot_xmax(txid_current_snapshot())) AS ceiling
FROM bucardo.captured AS c
LEFT JOIN bucardo.captured_sync AS s ON s.captured = c.id
LEFT JOIN LATERAL (
    SELECT k.snapshot FROM bucardo.track AS k WHERE k.sync = s.sync AND k.round NOT IN (-2, -3)
    UNION ALL
    SELECT q.snapshot
    FROM bucardo.quarantined AS q
    JOIN bucardo.track AS k ON k.sync = q.sync AND k.target = q.target AND k.round NOT IN (-2, -3)
    WHERE q.sync = s.sync AND q.captured = c.id
) AS t ON true
GROUP BY c.id
ORDER BY c.id
