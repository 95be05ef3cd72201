-- Readers that have not moved for long: only for these can there be changes that wait for long.
--   $1 float8 seconds
SELECT sync, target, updated FROM bucardo.track WHERE updated < now() - make_interval(secs => $1) ORDER BY updated
