-- The index on the key of a delta table: whether it is there and can be used, and what making it would cost.
--   $1 text index   $2 text delta table   $3 int captured   $4 text sync
SELECT to_regclass($1::text) IS NOT NULL AS is_there,
       coalesce((SELECT i.indisvalid FROM pg_catalog.pg_index AS i WHERE i.indexrelid = to_regclass($1::text)),
                false) AS is_valid,
       pg_catalog.pg_relation_size($2::text::regclass) AS bytes,
       EXISTS (SELECT FROM bucardo.captured_sync AS s WHERE s.captured = $3 AND s.sync <> $4) AS is_shared
