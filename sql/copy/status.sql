-- How far the copy of a sync from a source is, while it is under way. One in a single transaction (mode 0) cannot be
-- interrupted: where nobody tells of it any more, it has ended.
--   $1 text sync   $2 text source
SELECT tables, tables_done, rows, rows_total, bytes, bytes_total, bytes_before, attempt, started,
       extract(epoch FROM updated - began)::float8 AS seconds,
       extract(epoch FROM clock_timestamp() - updated)::float8 AS silent
FROM bucardo.copy_job WHERE sync = $1 AND source = $2 AND finished IS NULL
    AND (mode > 0 OR updated > clock_timestamp() - interval '30 seconds')
