-- The delta tables of a sync.
--   $1 text sync
SELECT c.id AS captured, c.deltaname
FROM bucardo.captured_sync AS s
JOIN bucardo.captured AS c ON c.id = s.captured
WHERE s.sync = $1
ORDER BY c.id
