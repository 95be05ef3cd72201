-- Notes that an attempt begins.
--   $1 text sync   $2 text source   $3 bigint request   $4 smallint mode   $5 int attempt   $6 bigint tables
--   $7 bigint rows in all   $8 bigint bytes in all   $9 bigint bytes that are there already
INSERT INTO bucardo.copy_job AS j (sync, source, request, mode, attempt, tables, rows_total, bytes_total, bytes, bytes_before)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
ON CONFLICT (sync, source) DO UPDATE
SET request = excluded.request, mode = excluded.mode, attempt = excluded.attempt, tables = excluded.tables,
    rows_total = excluded.rows_total, bytes_total = excluded.bytes_total, bytes = excluded.bytes,
    bytes_before = excluded.bytes_before, tables_done = 0, rows = 0, began = now(), updated = now(), finished = NULL,
    started = CASE WHEN excluded.attempt = 1 THEN now() ELSE j.started END
