-- Whether equal values of all these columns have equal texts, in every session of ours, whether they are integers, and
-- what they are: only texts of the same type can be compared.
--   $1 oid table   $2 text[] columns
WITH RECURSIVE base AS (
    SELECT a.attname, a.atttypid AS oid, a.attcollation AS collation
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = $1 AND a.attname = ANY ($2) AND NOT a.attisdropped
    UNION ALL
    SELECT b.attname, t.typbasetype, b.collation
    FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.oid WHERE t.typtype = 'd'
)
SELECT coalesce(bool_and(
    t.typtype = 'e'
    OR b.oid::regtype::text = ANY (ARRAY['smallint', 'integer', 'bigint', 'oid', 'boolean', 'uuid', 'date', 'bytea',
                                         'timestamp without time zone', 'timestamp with time zone', 'macaddr', 'inet',
                                         'cidr', 'name'])
    OR (b.oid::regtype::text = ANY (ARRAY['text', 'character varying'])
        AND coalesce((SELECT to_jsonb(c) ->> 'collisdeterministic' <> 'false'
                      FROM pg_catalog.pg_collation AS c WHERE c.oid = b.collation), true))), false) AS exact,
       coalesce(bool_and(b.oid::regtype::text = ANY (ARRAY['smallint', 'integer', 'bigint'])), false) AS integers,
       string_agg(CASE b.oid::regtype::text WHEN 'character varying' THEN 'text'
                       ELSE CASE WHEN t.typtype = 'e' THEN 'enum' ELSE b.oid::regtype::text END END,
                  ' ' ORDER BY b.attname) AS kinds
FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.oid
WHERE t.typtype <> 'd'
