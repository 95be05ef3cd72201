-- The tables (partitioned ones too) and sequences of a database outside the system's and the program's own schemas,
-- each with its key: the primary key, else the unique index with the fewest columns that is valid, not partial, has no
-- expressions and no column that may be NULL; of several the newest.
SELECT n.nspname::text AS schema_name,
       c.relname::text AS name,
       c.relkind = 'S' AS is_sequence,
       c.relispartition AS is_partition,
       coalesce(k.columns, '{}') AS key_columns,
       coalesce(k.types, '{}') AS key_types,
       (SELECT s.reset_val FROM pg_settings AS s WHERE s.name = 'search_path') AS search_path,
       current_user::text AS user_name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT array_agg(a.attname::text ORDER BY p.position) AS columns,
           array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY p.position) AS types
    FROM pg_index AS i
    -- Columns that an index only carries along (INCLUDE, since version 11) are no part of its key.
    CROSS JOIN LATERAL (
        SELECT coalesce((to_jsonb(i) ->> 'indnkeyatts')::integer, i.indnatts::integer) AS width
    ) AS w
    CROSS JOIN LATERAL generate_series(0, w.width - 1) AS p(position)
    LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[p.position]
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indexrelid, i.indisprimary, w.width
    HAVING bool_and(a.attnotnull)
    ORDER BY i.indisprimary DESC, w.width, i.indexrelid DESC
    LIMIT 1
) AS k ON c.relkind <> 'S'
WHERE c.relkind IN ('r', 'p', 'S')
  AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_'
  AND n.nspname <> 'bucardo'
ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C"
