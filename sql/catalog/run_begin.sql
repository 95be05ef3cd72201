-- Begins a run of a sync, unless one is open.
--   $1 text         the sync
--   $2 timestamptz  when it began
--   $3 text         what it does
INSERT INTO bucardo.syncrun (sync, started, status)
SELECT s.name, $2::timestamptz, $3::text
FROM bucardo.sync AS s
WHERE s.name = $1::text
  AND NOT EXISTS (SELECT 1 FROM bucardo.syncrun AS r WHERE r.sync = s.name AND r.ended IS NULL)
