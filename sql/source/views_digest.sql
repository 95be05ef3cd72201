-- What the views for scripts were made from; NULL: they are not there.
SELECT obj_description(to_regprocedure('bucardo.bucardo_track_of(integer)'), 'pg_proc') AS digest
