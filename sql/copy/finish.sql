-- A copy is finished; committed with the position. Tells how many rows it wrote in all attempts.
--   $1 text sync   $2 text source
WITH whole AS (
    SELECT count(DISTINCT goat) AS tables, coalesce(sum(rows), 0)::bigint AS rows
    FROM bucardo.copy_chunk WHERE sync = $1 AND source = $2
)
UPDATE bucardo.copy_job AS j
SET finished = clock_timestamp(), updated = clock_timestamp(), tables_done = j.tables, rows = w.rows,
    rows_total = w.rows, bytes = j.bytes_total
FROM whole AS w
WHERE j.sync = $1 AND j.source = $2
RETURNING w.rows
