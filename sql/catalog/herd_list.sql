-- Every relgroup with its members, in the order in which they are processed, and its syncs.
SELECT to_jsonb(h) || jsonb_build_object(
    'db', (SELECT min(g.db) FROM bucardo.herdmap AS m JOIN bucardo.goat AS g ON g.id = m.goat WHERE m.herd = h.name),
    'members', coalesce((
        SELECT jsonb_agg(
            jsonb_build_object(
                'id', g.id, 'schemaname', g.schemaname, 'tablename', g.tablename, 'reltype', g.reltype,
                'priority', m.priority
            )
            ORDER BY m.priority DESC, g.id
        )
        FROM bucardo.herdmap AS m JOIN bucardo.goat AS g ON g.id = m.goat WHERE m.herd = h.name
    ), '[]'),
    'syncs', coalesce((SELECT jsonb_agg(s.name ORDER BY s.name) FROM bucardo.sync AS s WHERE s.herd = h.name), '[]')
) AS listing
FROM bucardo.herd AS h
ORDER BY h.name
