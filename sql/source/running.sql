-- The transactions that are under way in this database and may still commit changes of a sync, and when each began, as far
-- as that is told; one row without a name if there is none. A prepared one counts only where it has made such changes.
--   $1 text sync
WITH logs AS (
    SELECT to_regclass(format('bucardo.%I', c.deltaname))::oid AS log
    FROM bucardo.captured_sync AS s JOIN bucardo.captured AS c ON c.id = s.captured
    WHERE s.sync = $1
    UNION ALL
    SELECT to_regclass('bucardo.truncated')::oid
),
found AS (
    SELECT l.virtualtransaction AS name, a.xact_start AS began, false AS is_prepared
    FROM pg_stat_activity AS a
    JOIN pg_locks AS l ON l.pid = a.pid AND l.locktype = 'virtualxid' AND l.virtualxid = l.virtualtransaction
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type <> 'autovacuum worker'
    UNION ALL
    SELECT p.transaction::text, NULL, true
    FROM pg_prepared_xacts AS p
    WHERE p.database = current_database()
      AND EXISTS (SELECT FROM pg_locks AS x
                  JOIN pg_locks AS r ON r.virtualtransaction = x.virtualtransaction AND r.pid IS NULL
                  WHERE x.pid IS NULL AND x.locktype = 'transactionid' AND x.transactionid = p.transaction
                    AND r.locktype = 'relation' AND r.mode = 'RowExclusiveLock'
                    AND r.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND r.relation = ANY (ARRAY(SELECT log FROM logs WHERE log IS NOT NULL)))
)
SELECT now() AS now, f.name, f.began, f.is_prepared
FROM (VALUES (1)) AS one (n)
LEFT JOIN found AS f ON true
