-- Our triggers on some tables.
--   $1 oid[] tables   $2 text prefix
SELECT t.tgrelid AS oid, t.tgname::text AS name
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = ANY ($1) AND left(t.tgname::text, length($2)) = $2 AND NOT t.tgisinternal
