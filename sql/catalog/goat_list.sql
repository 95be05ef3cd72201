-- Every table and sequence with its relgroups and syncs.
SELECT to_jsonb(g) || jsonb_build_object(
    'relgroups', coalesce((SELECT jsonb_agg(m.herd ORDER BY m.herd) FROM bucardo.herdmap AS m WHERE m.goat = g.id), '[]'),
    'syncs', coalesce((
        SELECT jsonb_agg(s.name ORDER BY s.name)
        FROM bucardo.herdmap AS m JOIN bucardo.sync AS s ON s.herd = m.herd WHERE m.goat = g.id
    ), '[]')
) AS listing
FROM bucardo.goat AS g
ORDER BY g.schemaname COLLATE "C", g.tablename COLLATE "C", g.db COLLATE "C", g.id
