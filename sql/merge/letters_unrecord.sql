-- This source does not have the versions of these keys, which it refused.
--   {delta} {table} {sync} {same} (of t and d)   $1 text[] keys, as JSON
DELETE FROM {delta} AS d
USING unnest($1::text[]) AS r (key) CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, r.key::jsonb) AS t
WHERE d.txid = txid_current() AND split_part(d.origin, ' ', 1) = {sync} AND {same}
