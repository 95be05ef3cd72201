-- Every custom name, column list or row filter.
--   {mappings}  table of the catalog
--   {clause}    its column
SELECT jsonb_build_object(
    'id', m.id, 'goat', m.goat, 'schemaname', g.schemaname, 'tablename', g.tablename, 'text', m.{clause},
    'db', m.db, 'sync', m.sync, 'cdate', m.cdate
) AS listing
FROM {mappings} AS m
JOIN bucardo.goat AS g ON g.id = m.goat
ORDER BY m.id
