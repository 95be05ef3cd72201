-- Conflicts, the newest first.
--   $1 text[]  syncs; NULL: all
--   $2 text    schema of the table; NULL: any
--   $3 text    table; NULL: any
--   $4 bigint  how many at most
SELECT c.id, c.sync, c.schemaname, c.tablename, c.strategy, c.winner, c.time,
       coalesce((SELECT array_agg(k.key ORDER BY array_position(g.key_columns, k.key), k.place)
                 FROM jsonb_each_text(c.key) WITH ORDINALITY AS k (key, value, place)), '{}') AS key_columns,
       coalesce((SELECT array_agg(coalesce(k.value, 'NULL') ORDER BY array_position(g.key_columns, k.key), k.place)
                 FROM jsonb_each_text(c.key) WITH ORDINALITY AS k (key, value, place)), '{}') AS key_values,
       coalesce((SELECT array_agg(r.key ORDER BY r.key COLLATE "C")
                 FROM jsonb_each(c.rows) AS r), '{}') AS dbs,
       coalesce((SELECT array_agg(CASE jsonb_typeof(r.value) WHEN 'null' THEN NULL WHEN 'string' THEN r.value #>> '{}'
                                       ELSE r.value::text END ORDER BY r.key COLLATE "C")
                 FROM jsonb_each(c.rows) AS r), '{}') AS rows,
       coalesce((SELECT array_agg(c.versions -> r.key ->> 'time' ORDER BY r.key COLLATE "C")
                 FROM jsonb_each(c.rows) AS r), '{}') AS times,
       coalesce((SELECT array_agg(d.name ORDER BY d.name)
                 FROM (SELECT f.key AS name
                       FROM jsonb_each(c.rows) AS r
                       CROSS JOIN LATERAL jsonb_each(
                           CASE jsonb_typeof(r.value) WHEN 'object' THEN r.value ELSE '{}' END) AS f
                       GROUP BY f.key
                       HAVING count(DISTINCT f.value) > 1) AS d), '{}') AS differing,
       jsonb_pretty(jsonb_build_object(
           'id', c.id, 'sync', c.sync, 'schema', c.schemaname, 'table', c.tablename, 'key', c.key,
           'strategy', c.strategy, 'winner', c.winner, 'versions', c.versions, 'rows', c.rows, 'time', c.time
       )) AS json
FROM bucardo.conflict AS c
-- The key's columns in their order, where the table is known still.
LEFT JOIN LATERAL (
    SELECT t.key_columns FROM bucardo.goat AS t
    WHERE t.schemaname = c.schemaname AND t.tablename = c.tablename ORDER BY t.id LIMIT 1
) AS g ON true
WHERE ($1::text[] IS NULL OR c.sync = ANY ($1::text[]))
  AND ($2::text IS NULL OR c.schemaname = $2::text)
  AND ($3::text IS NULL OR c.tablename = $3::text)
ORDER BY c.time DESC, c.id
LIMIT $4::bigint
