-- Registers a reader of a sync, from the snapshot on that its position has: its changes are kept from now on.
--   $1 text sync   $2 text source   $3 text reader   $4 text snapshot
INSERT INTO bucardo.track AS t (sync, source, target, snapshot) VALUES ($1, $2, $3, $4)
ON CONFLICT (sync, target) DO UPDATE SET round = 0 WHERE t.round < 0
