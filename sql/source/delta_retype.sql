-- Delta columns whose type is no longer that of their key column.
--   $1 oid table   $2 text delta table   $3 text[] key columns   $4 text[] delta columns, side by side
SELECT d.attname::text AS name, pg_catalog.format_type(t.atttypid, t.atttypmod) AS type
FROM unnest($3::text[], $4::text[]) AS k (key, delta)
JOIN pg_catalog.pg_attribute t ON t.attrelid = $1 AND t.attname = k.key AND NOT t.attisdropped
JOIN pg_catalog.pg_attribute d ON d.attrelid = $2::text::regclass AND d.attname = k.delta AND NOT d.attisdropped
WHERE (t.atttypid, t.atttypmod) <> (d.atttypid, d.atttypmod)
