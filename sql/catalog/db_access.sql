-- How to reach databases, passwords included.
--   $1 text[]  their names; NULL: all
SELECT name, dbdsn, dbtype, coalesce(dbhost, '') AS dbhost, coalesce(dbport, '') AS dbport,
       coalesce(dbname, '') AS dbname, coalesce(dbuser, '') AS dbuser, coalesce(dbpass, '') AS dbpass, dbconn,
       coalesce(dbservice, '') AS dbservice, coalesce(pgpass, '') AS pgpass, status,
       makedelta, sourcelimit, targetlimit, queue_rows_max, queue_mb_max,
       extract(epoch FROM queue_age_max)::float8 AS queue_age_max, queue_policy
FROM bucardo.db
WHERE $1::text[] IS NULL OR name = ANY ($1::text[])
ORDER BY name
