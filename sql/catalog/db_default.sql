-- The database in which tables are looked for when none is named: the only one with role source, else the first added.
SELECT coalesce(
    (SELECT min(m.db) FROM bucardo.dbmap AS m WHERE m.role = 'source' HAVING count(DISTINCT m.db) = 1),
    (SELECT d.name FROM bucardo.db AS d ORDER BY d.cdate, d.name LIMIT 1)
) AS name
