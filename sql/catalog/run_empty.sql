-- Notes that a sync was looked at and had nothing to do: one row a sync, written again each time. What was shown of the
-- look while it went on gives way to it.
--   $1 text         the sync
--   $2 timestamptz  when it began, $3 timestamptz when it ended
--   $4 text         where it read, $5 text where it wrote; NULL: all sources
--   $6 integer      the process
WITH shown AS (
    DELETE FROM bucardo.syncrun AS r
    WHERE r.sync = $1::text AND r.ended IS NULL
      AND r.sourcedb IS NOT DISTINCT FROM $4::text AND r.targetdb IS NOT DISTINCT FROM $5::text
), again AS (
    UPDATE bucardo.syncrun AS r
    SET started = $2::timestamptz, ended = $3::timestamptz, status = 'No delta rows found', sourcedb = $4::text,
        targetdb = $5::text, pid = $6::integer
    WHERE r.sync = $1::text AND r.lastempty
    RETURNING 1
)
INSERT INTO bucardo.syncrun (sync, started, ended, lastempty, status, sourcedb, targetdb, pid)
SELECT s.name, $2::timestamptz, $3::timestamptz, true, 'No delta rows found', $4::text, $5::text, $6::integer
FROM bucardo.sync AS s
WHERE s.name = $1::text AND NOT EXISTS (SELECT 1 FROM again)
