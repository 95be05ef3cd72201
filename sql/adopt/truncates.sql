-- Carries over that a table was truncated and a sync has not heard of it.
--   $1 int captured   $2 text sync   $3 text origin   $4 oid table
INSERT INTO bucardo.truncated (captured, txntime, origin)
SELECT $1, max(t.cdate), $3::text
FROM bucardo.bucardo_truncate_trigger AS t
WHERE t.tablename = $4 AND t.sync = $2 AND t.replicated IS NULL
HAVING count(*) > 0
