-- Every sync with its databases, and its tables and sequences in the order in which they are processed.
SELECT to_jsonb(s) || jsonb_build_object(
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
