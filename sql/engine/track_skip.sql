-- The source's copy of a target's position, after the target has learned that it has everything up to there. Its last
-- round with the source stays when it was.
--   $1 text sync   $2 text target   $3 text snapshot   $4 bigint round
UPDATE bucardo.track SET snapshot = $3, round = $4 WHERE sync = $1 AND target = $2
