-- Whether a source has its own position in a sync: it has everything else of it, then.
--   $1 text sync   $2 text source
SELECT EXISTS (SELECT FROM bucardo.position WHERE sync = $1 AND source = $2) AS settled
