-- Forgets a sync in a target.
--   $1 text sync
DELETE FROM bucardo.position WHERE sync = $1
