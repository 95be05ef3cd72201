-- The snapshot of the merge on this source, its transaction there, the clock, and what the source knows of its readers.
--   $1 text sync
SELECT txid_current_snapshot()::text AS snapshot, txid_current() AS txid, clock_timestamp() AS now,
       coalesce(array_agg(t.target) FILTER (WHERE t.target IS NOT NULL), '{}') AS targets,
       coalesce(array_agg(t.round) FILTER (WHERE t.target IS NOT NULL), '{}') AS rounds
FROM (SELECT) AS one
LEFT JOIN bucardo.track AS t ON t.sync = $1
