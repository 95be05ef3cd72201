-- The round that a copy belongs to. The lock keeps another round from beginning before this transaction has ended; it
-- is in nobody else's way.
--   $1 text sync   $2 text source
SELECT round FROM bucardo.position WHERE sync = $1 AND source = $2 FOR KEY SHARE
