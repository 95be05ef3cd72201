-- The delta tables of a sync, or of all, that have a page at least: the others are empty.
--   $1 text sync; NULL: all
SELECT c.id, c.deltaname
FROM bucardo.captured AS c
WHERE EXISTS (SELECT FROM bucardo.captured_sync AS s WHERE s.captured = c.id AND ($1::text IS NULL OR s.sync = $1))
  AND pg_relation_size(to_regclass(format('bucardo.%I', c.deltaname))) > 0
ORDER BY c.id
