-- What the functions for cron jobs were made from; NULL: they are not there.
SELECT obj_description(to_regprocedure('bucardo.bucardo_purge_delta(interval)'), 'pg_proc') AS digest
