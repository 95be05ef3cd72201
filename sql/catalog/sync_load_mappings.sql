-- Names, columns and filters that differ from the source's, of each table and sequence on each target of each sync.
-- Of a source only what names it: sources that are written to can have nothing of the kind, and somebody should know.
-- The most particular row wins: for sync and database, for the database, for the sync, for all; then the newest.
--   $1 text  name of one sync; NULL: all
SELECT w.sync, w.goat, w.db, w.newname, w.columns, w.filter
FROM (
    SELECT s.name AS sync, g.id AS goat, m.db AS db,
           (SELECT c.newname
            FROM bucardo.customname AS c
            WHERE m.role <> 'source' AND c.goat = g.id AND coalesce(c.db, m.db) = m.db AND coalesce(c.sync, s.name) = s.name
            ORDER BY c.db IS NOT NULL DESC, c.sync IS NOT NULL DESC, c.id DESC
            LIMIT 1) AS newname,
           (SELECT nullif(btrim(c.clause, E' \t\r\n'), '')
            FROM bucardo.customcols AS c
            WHERE (m.role <> 'source' OR c.db IS NOT NULL) AND c.goat = g.id AND coalesce(c.db, m.db) = m.db AND coalesce(c.sync, s.name) = s.name
            ORDER BY c.db IS NOT NULL DESC, c.sync IS NOT NULL DESC, c.id DESC
            LIMIT 1) AS columns,
           nullif(btrim(coalesce(
               (SELECT c.clause
                FROM bucardo.customselect AS c
                WHERE (m.role <> 'source' OR c.db IS NOT NULL) AND c.goat = g.id AND coalesce(c.db, m.db) = m.db AND coalesce(c.sync, s.name) = s.name
                ORDER BY c.db IS NOT NULL DESC, c.sync IS NOT NULL DESC, c.id DESC
                LIMIT 1),
               CASE WHEN m.role <> 'source' THEN g.customselect END), E' \t\r\n'), '') AS filter
    FROM bucardo.sync AS s
    JOIN bucardo.herdmap AS h ON h.herd = s.herd
    JOIN bucardo.goat AS g ON g.id = h.goat
    JOIN bucardo.dbmap AS m ON m.dbgroup = s.dbs
    WHERE $1::text IS NULL OR s.name = $1::text
) AS w
WHERE w.newname IS NOT NULL OR w.columns IS NOT NULL OR w.filter IS NOT NULL
ORDER BY w.sync, w.goat, w.db
