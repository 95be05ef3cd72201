-- Whether a delta table has an index on its key, as earlier versions made it for merges.
--   $1 text index
SELECT to_regclass($1::text) IS NOT NULL AS is_there
