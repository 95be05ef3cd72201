-- The named relations with their kind, privileges and place in partition trees; absent ones have a null oid.
--   $1 text[] schemas   $2 text[] names, side by side
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
       EXISTS (SELECT FROM pg_catalog.pg_constraint f
               WHERE f.confrelid = c.oid AND f.contype = 'f' AND f.conrelid <> c.oid) AS is_referenced
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (schema, name, ordinality)
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
ORDER BY w.ordinality
