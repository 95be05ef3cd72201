-- Notes keys for the database that refused them, which has their present rows sent again; in merges with the version that
-- the source has of them (of one that is purged, since when they wait), so that they are no newer than they were.
--   {delta} {columns} {values} (of k, a row of the delta table) {pairs} (names and values of n.key) {on} (of d and k)
--   $1 text[] keys, as JSON   $2 timestamptz[] since when they wait   $3 text sync   $4 text source
--   $5 text the database   $6 boolean whether the sync merges
INSERT INTO {delta} ({columns}, txntime, origin)
SELECT {values}, CASE WHEN $6 THEN coalesce(v.txntime, n.since) ELSE now() END,
       $3::text || ' ' || coalesce(split_part(split_part(v.own, ' ', 2), ',', 1), $4) || ',!' || $5 || ' '
       || coalesce(split_part(v.own, ' ', 3), '0')
FROM unnest($1::text[], $2::timestamptz[]) AS n (key, since)
CROSS JOIN LATERAL jsonb_populate_record(NULL::{delta}, jsonb_build_object({pairs})) AS k
LEFT JOIN LATERAL (
    SELECT d.txntime, CASE WHEN split_part(d.origin, ' ', 1) = $3 THEN d.origin END AS own
    FROM {delta} AS d WHERE {on}
    ORDER BY d.txntime DESC, d.origin DESC NULLS LAST
    LIMIT 1) AS v ON true
