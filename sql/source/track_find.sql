-- What the source knows of a target.
--   $1 text sync   $2 text target
SELECT snapshot, round FROM bucardo.track WHERE sync = $1 AND target = $2
