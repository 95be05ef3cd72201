-- Forgets what was kept for tables that the target has not put aside, or no longer.
--   $1 text sync   $2 text target   $3 int[] captured tables that it has
DELETE FROM bucardo.quarantined WHERE sync = $1 AND target = $2 AND captured <> ALL ($3)
