-- The types of the key columns of a table, in their order.
--   $1 oid   $2 text[] columns
SELECT k.name, format_type(a.atttypid, a.atttypmod) AS type, a.atttypid = 'bytea'::regtype AS is_bytea
FROM unnest($2::text[]) WITH ORDINALITY AS k (name, place)
JOIN pg_attribute AS a ON a.attrelid = $1 AND a.attname = k.name AND NOT a.attisdropped
ORDER BY k.place
