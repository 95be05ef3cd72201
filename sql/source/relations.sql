-- The named relations with their kind, privileges and place in partition trees, and the partitions below them that may not
-- be read or captured on their own; absent ones have a null oid.
--   $1 text[] schemas   $2 text[] names, side by side
WITH RECURSIVE tree AS (
    SELECT c.oid AS root, c.oid
    FROM unnest($1::text[], $2::text[]) AS w (schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind = 'p'
    UNION
    SELECT t.root, i.inhrelid FROM tree AS t JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
),
pieces AS (
    SELECT t.root, c.oid, c.relnamespace, c.relname
    FROM tree AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.oid AND c.relkind IN ('r', 'p')
    WHERE t.oid <> t.root
)
SELECT w.ordinality::int - 1 AS place,
       n.oid IS NOT NULL AS schema_exists,
       c.oid AS oid,
       c.relkind::text AS relkind,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) AS is_child,
       coalesce(c.relkind IN ('r', 'p') AND pg_catalog.row_security_active(c.oid), false) AS is_policed,
       coalesce(CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
            ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END, false) AS may_select,
       coalesce(CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'UPDATE')
            ELSE pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'DELETE')
                 AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') AND pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')
            END, false) AS may_write,
       coalesce(c.relkind <> 'S' AND pg_catalog.has_table_privilege(c.oid, 'TRIGGER'), false) AS may_trigger,
       ARRAY(SELECT format('%I.%I', p.relnamespace::regnamespace::name, p.relname) FROM pieces AS p
             WHERE p.root = c.oid AND NOT (pg_catalog.has_table_privilege(p.oid, 'SELECT')
                                           AND pg_catalog.has_table_privilege(p.oid, 'TRIGGER'))
             ORDER BY p.oid) AS pieces_denied,
       ARRAY(SELECT format('%I.%I', p.relnamespace::regnamespace::name, p.relname) FROM pieces AS p
             WHERE p.root = c.oid AND pg_catalog.row_security_active(p.oid)
             ORDER BY p.oid) AS pieces_policed,
       EXISTS (SELECT FROM pg_catalog.pg_constraint f
               WHERE f.confrelid = c.oid AND f.contype = 'f' AND f.conrelid <> c.oid) AS is_referenced
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (schema, name, ordinality)
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
ORDER BY w.ordinality
