-- Tables of which this transaction has captured or recorded changes: whose delta table it has written to, or that were
-- truncated. Nothing is asked of the others, and no lock is taken.
--   $1 text[] delta tables, quoted   $2 int[] captured tables, in the same order
SELECT t.place - 1 AS place
FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS t (delta, captured, place)
WHERE t.delta::regclass IN (
          SELECT l.relation FROM pg_locks AS l
          WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.mode = 'RowExclusiveLock' AND l.granted
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
   OR t.captured IN (SELECT u.captured FROM bucardo.truncated AS u WHERE u.txid = txid_current())
