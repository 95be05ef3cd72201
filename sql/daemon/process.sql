-- How a session names itself.
--   $1 int  its backend
SELECT a.application_name FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = $1::int
