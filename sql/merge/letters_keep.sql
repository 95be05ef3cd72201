-- Rows of these keys make no room: what would take their place was refused.
--   {take} {table} {on} (of t and k)   $1 text[] keys, as JSON
DELETE FROM {take} AS k
USING unnest($1::text[]) AS r (key) CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, r.key::jsonb) AS t
WHERE {on}
