-- Forgets tables of a copy and their pieces.
--   $1 text sync   $2 text source   $3 int[] goats
WITH chunks AS (DELETE FROM bucardo.copy_chunk WHERE sync = $1 AND source = $2 AND goat = ANY ($3))
DELETE FROM bucardo.copy_table WHERE sync = $1 AND source = $2 AND goat = ANY ($3)
