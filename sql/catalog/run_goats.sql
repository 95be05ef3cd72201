-- Adds what a run brought of each table to the totals, and a row each to bucardo_rate where the sync tracks rates.
--   $1 text          sync
--   $2 text          target; empty: all sources of a merge
--   $3 int[]         tables
--   $4 bigint[]      rows deleted of each
--   $5 bigint[]      rows written of each
--   $8 bigint[]      changed keys of each
--   $6 timestamptz   when the oldest of the changes was made; NULL: not known
--   $7 timestamptz   when they were committed
WITH counted AS (
    SELECT c.goat, sum(c.deletes)::bigint AS deletes, sum(c.inserts)::bigint AS inserts, sum(c.keys)::bigint AS keys
    FROM unnest($3::integer[], $4::bigint[], $5::bigint[], $8::bigint[]) AS c (goat, deletes, inserts, keys)
    JOIN bucardo.goat AS g ON g.id = c.goat
    GROUP BY c.goat
), rated AS (
    INSERT INTO bucardo.bucardo_rate (sync, goat, target, mastercommit, slavecommit, total)
    SELECT s.name, c.goat, $2::text, $6::timestamptz, $7::timestamptz, least(c.keys, 2147483647)::integer
    FROM counted AS c
    JOIN bucardo.sync AS s ON s.name = $1::text AND s.track_rates
    WHERE $6::timestamptz IS NOT NULL
)
INSERT INTO bucardo.goat_total AS t (sync, goat, target, deletes, inserts, last)
SELECT s.name, c.goat, $2::text, c.deletes, c.inserts, $7::timestamptz
FROM counted AS c
JOIN bucardo.sync AS s ON s.name = $1::text
ON CONFLICT (sync, goat, target) DO UPDATE
SET deletes = t.deletes + excluded.deletes, inserts = t.inserts + excluded.inserts, last = excluded.last
