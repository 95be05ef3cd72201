-- Begins a run of a sync, unless one is open.
--   $1 text         the sync
--   $2 timestamptz  when it began
--   $3 text         what it does
--   $4 text         where it reads, $5 text where it writes; NULL: all sources
--   $6 integer      the process
INSERT INTO bucardo.syncrun (sync, started, status, sourcedb, targetdb, pid)
SELECT s.name, $2::timestamptz, $3::text, $4::text, $5::text, $6::integer
FROM bucardo.sync AS s
WHERE s.name = $1::text
  AND NOT EXISTS (SELECT 1 FROM bucardo.syncrun AS r WHERE r.sync = s.name AND r.ended IS NULL)
