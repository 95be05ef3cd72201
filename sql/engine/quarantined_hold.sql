-- Keeps the changes of a table from this snapshot on, before the target's position goes past them. An older hold that
-- is still there keeps more.
--   $1 text sync   $2 text target   $3 int captured   $4 text snapshot
INSERT INTO bucardo.quarantined (sync, target, captured, snapshot) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
