-- Statements that drop some of what is left in a schema: tables first, then functions.
--   $1 text schema   $2 bigint how many
SELECT format('DROP %s IF EXISTS %s CASCADE', s.kind, s.name) AS statement
FROM (
    SELECT 1 AS place, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind, c.oid::regclass::text AS name
    FROM pg_class AS c
    WHERE c.relnamespace = to_regnamespace(quote_ident($1::text)) AND c.relkind IN ('r', 'p', 'v')
      AND NOT c.relispartition
    UNION ALL
    SELECT 2, 'FUNCTION', p.oid::regprocedure::text
    FROM pg_proc AS p
    WHERE p.pronamespace = to_regnamespace(quote_ident($1::text))
) AS s
ORDER BY s.place
LIMIT $2::bigint
