-- Forgets readers that a sync no longer has.
--   $1 text sync   $2 text[] readers that stay
DELETE FROM bucardo.track WHERE sync = $1 AND target <> ALL ($2)
