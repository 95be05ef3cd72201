-- Forgets targets that a sync no longer has.
--   $1 text sync   $2 text[] targets that stay
DELETE FROM bucardo.track WHERE sync = $1 AND target <> ALL ($2)
