-- Every database with its groups and syncs, without passwords.
SELECT to_jsonb(d) || jsonb_build_object(
    'dbpass', CASE WHEN d.dbpass <> '' THEN '***' END,
    'dbconn', regexp_replace(d.dbconn, '(pass(?:word)?\s*=\s*)(''(?:[^''\\]|\\.)*''|[^\s;]+)', '\1***', 'gi'),
    'dbdsn', regexp_replace(
        regexp_replace(d.dbdsn, '(pass(?:word)?\s*=\s*)(''(?:[^''\\]|\\.)*''|[^\s;]+)', '\1***', 'gi'),
        '(://[^:/@]*:)[^@]*@', '\1***@'
    ),
    'dbgroups', coalesce((
        SELECT jsonb_agg(
            jsonb_build_object('dbgroup', m.dbgroup, 'role', m.role, 'priority', m.priority) ORDER BY m.dbgroup
        )
        FROM bucardo.dbmap AS m WHERE m.db = d.name
    ), '[]'),
    'syncs', coalesce((
        SELECT jsonb_agg(jsonb_build_object('sync', s.name, 'role', m.role) ORDER BY s.name)
        FROM bucardo.dbmap AS m JOIN bucardo.sync AS s ON s.dbs = m.dbgroup WHERE m.db = d.name
    ), '[]')
) AS listing
FROM bucardo.db AS d
ORDER BY d.name
