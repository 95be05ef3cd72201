-- Server processes of the daemon's sessions in this database.
--   $1 text   pattern of their application name
SELECT a.pid
FROM pg_stat_activity AS a
WHERE a.datname = current_database()
  AND a.application_name LIKE $1
ORDER BY a.pid
