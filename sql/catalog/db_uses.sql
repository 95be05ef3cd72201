-- What refers to a database: how many tables, groups and syncs.
--   $1 text  its name
SELECT (SELECT count(*) FROM bucardo.goat AS g WHERE g.db = $1::text) AS goats,
       (SELECT count(*) FROM bucardo.dbmap AS m WHERE m.db = $1::text) AS groups,
       (SELECT coalesce(array_agg(DISTINCT s.name ORDER BY s.name), '{}') FROM bucardo.sync AS s
         WHERE s.dbs IN (SELECT m.dbgroup FROM bucardo.dbmap AS m WHERE m.db = $1::text)
            OR s.herd IN (
                SELECT h.herd FROM bucardo.herdmap AS h JOIN bucardo.goat AS g ON g.id = h.goat WHERE g.db = $1::text
            )) AS syncs
