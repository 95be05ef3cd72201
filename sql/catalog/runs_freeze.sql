-- Moves runs that ended longer ago than that into the freezer.
--   $1 float8  seconds
--   $2 bigint  runs at most
SELECT bucardo.bucardo_purge_q_table(make_interval(secs => $1::float8), $2::bigint) AS moved
