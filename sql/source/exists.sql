-- Whether a relation exists.
--   $1 text its name, quoted, with its schema
SELECT to_regclass($1::text) IS NOT NULL AS exists
