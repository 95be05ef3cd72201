-- The sessions that runs of a sync have open on a database.
--   $1 text  the sync
--   $2 text  the database
SELECT d.pgpid FROM bucardo.dbrun AS d WHERE d.sync = $1::text AND d.dbname = $2::text
