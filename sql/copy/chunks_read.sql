-- The pieces of a copy.
--   $1 text sync   $2 text source
SELECT goat, chunk, low, high, state = 'done' AS done, rows
FROM bucardo.copy_chunk WHERE sync = $1 AND source = $2
ORDER BY goat, chunk
