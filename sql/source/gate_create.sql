-- The gate of a sync: 1, a change should notify; 2, nobody listens, or the daemon looks by itself. A sequence, because it is read
-- and written without regard to transactions.
--   {gate} {name} (the same as a literal)
CREATE SEQUENCE IF NOT EXISTS {gate};
SELECT setval({name}, 2)
