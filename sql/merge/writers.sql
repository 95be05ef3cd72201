-- Whether transactions that were in progress when the snapshot was taken have changed one of these tables and go on.
--   $1 text[] delta tables, quoted   $2 text[] the transactions, without epoch
SELECT EXISTS (
    SELECT
    FROM pg_locks AS r
    JOIN pg_locks AS x ON x.pid = r.pid AND x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted
    WHERE r.locktype = 'relation' AND r.mode = 'RowExclusiveLock' AND r.granted
      AND r.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND r.relation = ANY ($1::text[]::regclass[])
      AND x.transactionid::text = ANY ($2)) AS busy
