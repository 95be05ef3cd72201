-- Forgets a sync: nothing is kept for it any more.
--   $1 text sync
DELETE FROM bucardo.track WHERE sync = $1
