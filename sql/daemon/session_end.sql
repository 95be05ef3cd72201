-- Ends a session of ours that the server still believes in.
--   $1 int   its process id
--   $2 text  when it began
SELECT pg_catalog.pg_terminate_backend(a.pid)
FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid = $1::int AND a.backend_start::text = $2::text
