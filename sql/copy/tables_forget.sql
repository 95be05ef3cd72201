-- Forgets the tables and pieces of all copies of a sync.
--   $1 text sync
WITH chunks AS (DELETE FROM bucardo.copy_chunk WHERE sync = $1)
DELETE FROM bucardo.copy_table WHERE sync = $1
