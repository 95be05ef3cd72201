-- Whether a table was truncated and a sync has not heard of it.
--   $1 text sync   $2 oid table
SELECT EXISTS (SELECT FROM bucardo.bucardo_truncate_trigger AS t
               WHERE t.tablename = $2 AND t.sync = $1 AND t.replicated IS NULL) AS truncated
