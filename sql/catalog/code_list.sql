-- Every custom code, with the syncs and tables that it is for.
SELECT to_jsonb(c) || jsonb_build_object(
    'uses', coalesce((
        SELECT jsonb_agg(
            jsonb_build_object(
                'sync', m.sync, 'goat', m.goat, 'relation', g.schemaname || '.' || g.tablename, 'db', g.db,
                'active', m.active, 'priority', m.priority
            )
            ORDER BY m.priority DESC, m.sync, m.goat
        )
        FROM bucardo.customcode_map AS m LEFT JOIN bucardo.goat AS g ON g.id = m.goat
        WHERE m.code = c.id AND (m.sync IS NOT NULL OR m.goat IS NOT NULL)
    ), '[]')
) AS listing
FROM bucardo.customcode AS c
ORDER BY c.name
