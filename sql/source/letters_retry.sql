-- Notes keys as changed for one sync, which sends their present rows again.
--   {delta} {columns} {values} (of k, a row of the delta table) {pairs} (names and values of n.key)
--   $1 text[] keys, as JSON   $2 text origin
INSERT INTO {delta} ({columns}, origin)
SELECT {values}, $2
FROM unnest($1::text[]) AS n (key)
CROSS JOIN LATERAL jsonb_populate_record(NULL::{delta}, jsonb_build_object({pairs})) AS k
