-- The statement that shows which values a table of the catalog gives to columns that nobody names.
--   $1 text  the table
SELECT 'SELECT jsonb_object_agg(d.name, d.value) AS row FROM (VALUES '
       || string_agg(format('(%L, to_jsonb((%s)::%s))', a.attname, pg_get_expr(d.adbin, d.adrelid),
                            format_type(a.atttypid, a.atttypmod)), ', ')
       || ') AS d (name, value)' AS statement
FROM pg_attribute AS a
JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ('bucardo.' || quote_ident($1::text))::regclass AND NOT a.attisdropped
  AND pg_get_expr(d.adbin, d.adrelid) !~ 'nextval|now\(\)'
