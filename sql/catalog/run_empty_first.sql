-- The first time that a sync had nothing to do.
--   $1 text         the sync
--   $2 timestamptz  when it began
--   $3 timestamptz  when it ended
INSERT INTO bucardo.syncrun (sync, started, ended, lastempty, status)
SELECT s.name, $2::timestamptz, $3::timestamptz, true, 'No delta rows found'
FROM bucardo.sync AS s WHERE s.name = $1::text
