-- The columns of some relations, in order.
--   $1 oid[] relations
-- equals: the operator that the type's own index uses; that of an extension's type is outside the search path.
-- attgenerated and collisdeterministic exist from PostgreSQL 12 on; to_jsonb hides the difference.
SELECT a.attrelid AS oid,
       a.attname::text AS name,
       a.attnum::int AS place,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       pg_catalog.format_type(a.atttypid, -1) AS bare_type,
       b.base_type,
       b.narrow_base,
       a.attnotnull AS not_null,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS default_text,
       coalesce(pg_catalog.to_jsonb(a) ->> 'attgenerated', '') <> '' AS generated,
       (SELECT pg_catalog.format('%I.%I', k.collnamespace::regnamespace::name, k.collname)
        FROM pg_catalog.pg_collation k WHERE k.oid = a.attcollation) AS collation,
       EXISTS (SELECT FROM pg_catalog.pg_collation k
               WHERE k.oid = a.attcollation AND pg_catalog.to_jsonb(k) ->> 'collisdeterministic' = 'false') AS folds,
       CASE WHEN t.typnamespace <> 'pg_catalog'::regnamespace THEN (
           WITH RECURSIVE base AS (
               SELECT a.atttypid AS oid
               UNION ALL
               SELECT d.typbasetype FROM base JOIN pg_catalog.pg_type d ON d.oid = base.oid WHERE d.typtype = 'd'
           )
           SELECT pg_catalog.format('OPERATOR(%I.%s)', s.nspname, o.oprname)
           FROM base
           JOIN pg_catalog.pg_opclass c ON c.opcintype = base.oid AND c.opcdefault
           JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
           JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3
                                    AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
           JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
           JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
           LIMIT 1
       ) END AS equals
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
    WITH RECURSIVE base AS (
        SELECT t.oid, t.typtype, t.typbasetype, t.typtypmod
        UNION ALL
        SELECT d.oid, d.typtype, d.typbasetype, CASE WHEN d.typtype = 'd' THEN d.typtypmod ELSE base.typtypmod END
        FROM base
        JOIN pg_catalog.pg_type d ON d.oid = base.typbasetype
    )
    SELECT pg_catalog.format_type(base.oid, -1) AS base_type,
           pg_catalog.format_type(base.oid, base.typtypmod) AS narrow_base
    FROM base WHERE base.typtype <> 'd'
) b ON t.typtype = 'd'
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
