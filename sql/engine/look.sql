-- The snapshot of the round, and what the source knows of the target.
--   $1 text sync   $2 text target
SELECT txid_current_snapshot()::text AS snapshot, clock_timestamp() AS now,
       t.round AS round
FROM (SELECT) AS one
LEFT JOIN bucardo.track t ON t.sync = $1 AND t.target = $2
