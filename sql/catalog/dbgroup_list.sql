-- Every group of databases with its members and syncs.
SELECT to_jsonb(g) || jsonb_build_object(
    'members', coalesce((
        SELECT jsonb_agg(
            jsonb_build_object('db', m.db, 'role', m.role, 'priority', m.priority, 'makedelta', m.makedelta)
            ORDER BY m.role <> 'source', m.priority DESC, m.db
        )
        FROM bucardo.dbmap AS m WHERE m.dbgroup = g.name
    ), '[]'),
    'syncs', coalesce((
        SELECT jsonb_agg(s.name ORDER BY s.name) FROM bucardo.sync AS s WHERE g.name IN (s.dbs, s.targetgroup)
    ), '[]')
) AS listing
FROM bucardo.dbgroup AS g
ORDER BY g.name
