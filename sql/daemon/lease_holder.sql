-- Who holds the lease.
--   $1 bigint  the number that stands for the lease
SELECT a.pid,
       a.application_name,
       coalesce(pg_catalog.host(a.client_addr), 'the server''s own host') AS client,
       a.backend_start::text AS since
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory'
  AND l.granted
  AND l.objsubid = 1
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
  AND l.classid::bigint = $1::bigint >> 32
  AND l.objid::bigint = $1::bigint & 4294967295
