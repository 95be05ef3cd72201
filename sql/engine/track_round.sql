-- The round of a target that the source knows of.
--   $1 text sync   $2 text target
SELECT round FROM bucardo.track WHERE sync = $1 AND target = $2
