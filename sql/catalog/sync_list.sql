-- Every sync with its databases, and its tables and sequences in the order in which they are processed. Its conflict
-- strategy is the one that counts: its own, or else that of the settings.
SELECT to_jsonb(s) || jsonb_build_object(
    'conflict_strategy', coalesce(
        nullif(btrim(s.conflict_strategy), ''),
        (SELECT nullif(btrim(c.setting), '')
         FROM bucardo.bucardo_config AS c
         WHERE lower(c.name) = 'default_conflict_strategy' AND c.item IS NULL),
        'bucardo_latest'
    ),
    'members', coalesce((
        SELECT jsonb_agg(
            jsonb_build_object('db', m.db, 'role', m.role, 'priority', m.priority)
            ORDER BY m.role <> 'source', m.priority DESC, m.db
        )
        FROM bucardo.dbmap AS m WHERE m.dbgroup = s.dbs
    ), '[]'),
    'relations', coalesce((
        SELECT jsonb_agg(
            jsonb_build_object(
                'id', g.id, 'schemaname', g.schemaname, 'tablename', g.tablename, 'reltype', g.reltype,
                'priority', m.priority
            )
            ORDER BY m.priority DESC, g.id
        )
        FROM bucardo.herdmap AS m JOIN bucardo.goat AS g ON g.id = m.goat WHERE m.herd = s.herd
    ), '[]')
) AS listing
FROM bucardo.sync AS s
ORDER BY s.name
