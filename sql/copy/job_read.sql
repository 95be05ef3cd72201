-- The last copy in pieces of a sync from a source.
--   $1 text sync   $2 text source
SELECT request, mode, attempt FROM bucardo.copy_job WHERE sync = $1 AND source = $2 AND finished IS NULL
