-- One branch for each delta table: what each reader has not read, counted along the index up to a limit.
--   {delta} {captured} {readable}   $1 text sync; NULL: all   $2 bigint rows counted at most
--   bytes: of the row, its line pointer and its index entry
SELECT {captured} AS captured, t.sync, t.target, w.changes, w.bytes, w.oldest, clock_timestamp() AS now,
       txid_snapshot_xmin(t.snapshot::txid_snapshot) AS first
FROM bucardo.captured_sync AS s
JOIN bucardo.track AS t ON t.sync = s.sync
CROSS JOIN LATERAL (
    SELECT count(*) AS changes, coalesce(sum(n.bytes), 0)::bigint AS bytes, min(n.txntime) AS oldest
    FROM (SELECT pg_column_size(d.*) + 24 AS bytes, d.txntime
          FROM {delta} AS d
          WHERE d.txid >= txid_snapshot_xmin(t.snapshot::txid_snapshot)
            AND NOT txid_visible_in_snapshot(d.txid, t.snapshot::txid_snapshot)
            AND {readable}
          ORDER BY d.txid
          LIMIT $2) AS n
) AS w
WHERE t.round NOT IN (-2, -3) AND s.captured = {captured} AND ($1::text IS NULL OR t.sync = $1) AND w.changes > 0
