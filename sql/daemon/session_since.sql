-- When this session began: with its process id it names the session for good.
SELECT a.backend_start::text AS since FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = pg_catalog.pg_backend_pid()
