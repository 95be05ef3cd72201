-- Forgets the copies of a sync, but for the indexes that are still to be made again: a later copy makes them.
--   $1 text sync
WITH chunks AS (DELETE FROM bucardo.copy_chunk WHERE sync = $1),
     jobs AS (DELETE FROM bucardo.copy_job WHERE sync = $1)
DELETE FROM bucardo.copy_table WHERE sync = $1 AND indexes = '{}'
