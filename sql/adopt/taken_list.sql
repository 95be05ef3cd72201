-- The tables that were taken over and are still there, and our number for each.
SELECT t.relation, n.nspname::text AS schemaname, c.relname::text AS tablename, t.deltaname, t.trackname, k.id, k.deltaname AS delta,
       coalesce(k.key_columns, '{}') AS key_columns
FROM bucardo_perl.taken AS t
JOIN pg_class AS c ON c.oid = t.relation
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN bucardo.captured AS k ON k.relation = t.relation
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
