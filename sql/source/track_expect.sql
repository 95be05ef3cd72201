-- Keeps changes for a reader that is away: round -1, it has no position of its own yet.
--   $1 text sync   $2 text source   $3 text reader   $4 text snapshot
INSERT INTO bucardo.track (sync, source, target, snapshot, round) VALUES ($1, $2, $3, $4, -1)
ON CONFLICT (sync, target) DO NOTHING
