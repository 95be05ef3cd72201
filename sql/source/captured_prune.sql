-- Forgets that a sync wants to hear of tables that it no longer has.
--   $1 text sync   $2 int[] captured tables that stay
DELETE FROM bucardo.captured_sync WHERE sync = $1 AND captured <> ALL ($2) RETURNING captured
