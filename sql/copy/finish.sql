-- A copy is finished; committed with the position. Tells how many rows of each table it wrote in all attempts.
--   $1 text sync   $2 text source
WITH each AS (
    SELECT goat, coalesce(sum(rows), 0)::bigint AS rows
    FROM bucardo.copy_chunk WHERE sync = $1 AND source = $2
    GROUP BY goat
), finished AS (
    UPDATE bucardo.copy_job AS j
    SET finished = clock_timestamp(), updated = clock_timestamp(), tables_done = j.tables, rows = w.rows,
        rows_total = w.rows, bytes = j.bytes_total
    FROM (SELECT coalesce(sum(rows), 0)::bigint AS rows FROM each) AS w
    WHERE j.sync = $1 AND j.source = $2
)
SELECT goat, rows FROM each
