-- Writes a run that has ended. It becomes the sync's last good or last bad one, and the former one is that no more. What
-- was shown of it while it went on is its row; what else is open of its KID was left behind.
--   $1 text         the sync
--   $2 timestamptz  when it began, $3 timestamptz when it ended
--   $4 boolean      whether it went well
--   $5 text         status text
--   $6 text         where it read, $7 text where it wrote; NULL: all sources
--   $8 integer      the process
--   $9 integer      truncates
--   $10 bigint      deletes, $11 bigint inserts, $12 bigint conflicts
WITH former AS (
    UPDATE bucardo.syncrun AS r
    SET lastgood = r.lastgood AND NOT $4::boolean, lastbad = r.lastbad AND $4::boolean
    WHERE r.sync = $1::text AND r.ended IS NOT NULL AND (r.lastgood AND $4::boolean OR r.lastbad AND NOT $4::boolean)
), stale AS (
    UPDATE bucardo.syncrun AS r
    SET ended = now(), status = 'Old entry ended'
    WHERE r.sync = $1::text AND r.ended IS NULL AND r.started <> $2::timestamptz
      AND r.sourcedb IS NOT DISTINCT FROM $6::text AND r.targetdb IS NOT DISTINCT FROM $7::text
), shown AS (
    UPDATE bucardo.syncrun AS r
    SET ended = $3::timestamptz, lastgood = $4::boolean, lastbad = NOT $4::boolean, status = $5::text,
        truncates = $9::integer, deletes = $10::bigint, inserts = $11::bigint, conflicts = $12::bigint
    WHERE r.sync = $1::text AND r.ended IS NULL AND r.started = $2::timestamptz
      AND r.sourcedb IS NOT DISTINCT FROM $6::text AND r.targetdb IS NOT DISTINCT FROM $7::text
    RETURNING 1
)
INSERT INTO bucardo.syncrun (sync, started, ended, lastgood, lastbad, status, sourcedb, targetdb, pid, truncates,
                             deletes, inserts, conflicts)
SELECT s.name, $2::timestamptz, $3::timestamptz, $4::boolean, NOT $4::boolean, $5::text, $6::text, $7::text,
       $8::integer, $9::integer, $10::bigint, $11::bigint, $12::bigint
FROM bucardo.sync AS s
WHERE s.name = $1::text AND NOT EXISTS (SELECT 1 FROM shown)
