-- Forgets the tables of a sync that a target has put aside.
--   $1 text sync
DELETE FROM bucardo.quarantine WHERE sync = $1
