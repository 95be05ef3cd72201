-- The tables of a source that this target has put aside, and the count of changes to that list; at least one row where
-- there is a position.
--   $1 text sync   $2 text source
SELECT p.quarantine AS turn, q.schemaname, q.tablename, q.captured, q.snapshot, q.whole, q.why, q.since
FROM bucardo.position AS p
LEFT JOIN bucardo.quarantine AS q ON q.sync = p.sync AND q.source = p.source
WHERE p.sync = $1 AND p.source = $2
