-- The active custom codes of syncs and of their tables, each sync's in the order in which they run: those with a higher
-- priority first, those of a table before those of the sync.
--   $1 text  name of one sync; NULL: all
SELECT s.name AS sync, c.id, c.name, c.whenrun, c.language, c.src_code, c.getdbh, c.getrows, m.goat
FROM bucardo.sync AS s
JOIN bucardo.customcode_map AS m
    ON m.sync = s.name OR m.goat IN (SELECT h.goat FROM bucardo.herdmap AS h WHERE h.herd = s.herd)
JOIN bucardo.customcode AS c ON c.id = m.code
WHERE m.active AND c.status = 'active' AND ($1::text IS NULL OR s.name = $1::text)
ORDER BY s.name, m.priority DESC, c.priority DESC, m.goat NULLS LAST, c.name
