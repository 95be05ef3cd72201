-- A snapshot taken now, and its bounds.
SELECT s::text AS snapshot, txid_snapshot_xmin(s) AS xmin, txid_snapshot_xmax(s) AS xmax
FROM txid_current_snapshot() AS s
