-- The indexes of a table that can be dropped and made again as they were, with the statements for both. Those of
-- constraints stay, as do the replica identity, the index that the table is clustered on, those of partitioned
-- tables, and those with statistics targets of their own: dropping them would lose more than the index.
--   $1 oid table
SELECT format('%I.%I', n.nspname, i.relname) AS name,
       format('DROP INDEX %I.%I', n.nspname, i.relname) AS dropping,
       concat_ws('; ',
                 format('SET LOCAL default_tablespace = %L', coalesce(s.spcname::text, '')),
                 pg_catalog.pg_get_indexdef(i.oid),
                 'SET LOCAL default_tablespace TO DEFAULT',
                 format('COMMENT ON INDEX %I.%I IS %L', n.nspname, i.relname,
                        pg_catalog.obj_description(i.oid, 'pg_class'))) AS making
FROM pg_catalog.pg_index AS x
JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
LEFT JOIN pg_catalog.pg_tablespace AS s ON s.oid = i.reltablespace
WHERE x.indrelid = $1 AND t.relkind = 'r' AND i.relkind = 'i' AND NOT i.relispartition
  AND x.indisvalid AND x.indisready AND NOT x.indisprimary AND NOT x.indisreplident AND NOT x.indisclustered
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS c WHERE c.conindid = i.oid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                  WHERE a.attrelid = i.oid AND coalesce(a.attstattarget, -1) <> -1)
ORDER BY i.relname
