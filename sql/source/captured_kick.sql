-- Notes that a sync wants to hear of a captured table.
--   $1 int captured   $2 text sync   $3 boolean whether a change kicks it
INSERT INTO bucardo.captured_sync (captured, sync, kick) VALUES ($1, $2, $3)
ON CONFLICT (captured, sync) DO UPDATE SET kick = excluded.kick
