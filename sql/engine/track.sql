-- The source's copy of a target's position, after the target has committed; not of one that was given up meanwhile.
--   $1 text sync   $2 text target   $3 text snapshot   $4 bigint round   $5 bigint deletes in all   $6 bigint inserts in all
UPDATE bucardo.track
SET snapshot = $3, round = $4, deletes = $5, inserts = $6, updated = now()
WHERE sync = $1 AND target = $2 AND round NOT IN (-2, -3)
