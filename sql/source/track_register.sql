-- Registers a target of a sync: its changes are kept from now on.
--   $1 text sync   $2 text source   $3 text target   $4 text snapshot
INSERT INTO bucardo.track (sync, source, target, snapshot) VALUES ($1, $2, $3, $4)
ON CONFLICT (sync, target) DO NOTHING
