-- Who holds what one of these sessions waits for; no row: none of them waits.
--   $1 integer[]  backends
SELECT b.pid, coalesce(b.usename::text, '') AS role, coalesce(b.application_name, '') AS application,
       coalesce(b.state, '') AS state
FROM unnest($1::integer[]) AS w (pid)
CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p (pid)
JOIN pg_stat_activity AS b ON b.pid = p.pid
ORDER BY b.backend_start
LIMIT 1
