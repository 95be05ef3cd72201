-- One branch for each delta table: what each reader has not read, counted along the index up to a limit.
--   {delta} {captured} {readable}   $1 text sync; NULL: all   $2 bigint rows counted at most
--   $3 bool also what a reader has put aside with its table, which its position is past
--   bytes: of the row, its line pointer and its index entry
SELECT {captured} AS captured, t.sync, t.target, w.changes, w.bytes, w.oldest, clock_timestamp() AS now,
       txid_snapshot_xmin(p.snapshot) AS first
FROM bucardo.captured_sync AS s
JOIN bucardo.track AS t ON t.sync = s.sync
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT q.snapshot FROM bucardo.quarantined AS q
                     WHERE $3 AND q.sync = t.sync AND q.target = t.target AND q.captured = {captured}),
                    t.snapshot)::txid_snapshot AS snapshot
) AS p
CROSS JOIN LATERAL (
    SELECT count(*) AS changes, coalesce(sum(n.bytes), 0)::bigint AS bytes, min(n.txntime) AS oldest
    FROM (SELECT pg_column_size(d.*) + 24 AS bytes, d.txntime
          FROM {delta} AS d
          WHERE d.txid >= txid_snapshot_xmin(p.snapshot)
            AND NOT txid_visible_in_snapshot(d.txid, p.snapshot)
            AND {readable}
          ORDER BY d.txid
          LIMIT $2) AS n
) AS w
WHERE t.round NOT IN (-2, -3) AND s.captured = {captured} AND ($1::text IS NULL OR t.sync = $1) AND w.changes > 0
