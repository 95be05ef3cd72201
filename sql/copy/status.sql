-- How far the copy of a sync from a source is, while it is under way.
--   $1 text sync   $2 text source
SELECT tables, tables_done, rows, rows_total, bytes, bytes_total, bytes_before, attempt, started,
       extract(epoch FROM updated - began)::float8 AS seconds,
       extract(epoch FROM clock_timestamp() - updated)::float8 AS silent
FROM bucardo.copy_job WHERE sync = $1 AND source = $2 AND finished IS NULL
