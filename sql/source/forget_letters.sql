-- Forgets the dead letters of a sync.
--   $1 text sync
DELETE FROM bucardo.deadletter WHERE sync = $1
