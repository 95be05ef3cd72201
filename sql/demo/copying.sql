-- Rows that running COPY commands have written into this database so far, by table (PostgreSQL 14 and later).
SELECT p.relid::regclass::text AS name, p.tuples_processed AS rows
FROM pg_stat_progress_copy AS p
WHERE p.datname = current_database()
  AND p.command = 'COPY FROM'
