-- Shows a run that goes on. A KID has one run at a time: what else is open of it was left behind.
--   $1 text         the sync
--   $2 timestamptz  when it began
--   $3 text         what it does
--   $4 text         where it reads, $5 text where it writes; NULL: all sources
--   $6 integer      the process
--   $7 integer      truncates so far
--   $8 bigint       deletes, $9 bigint inserts, $10 bigint conflicts so far
WITH stale AS (
    UPDATE bucardo.syncrun AS r
    SET ended = now(), status = 'Old entry ended'
    WHERE r.sync = $1::text AND r.ended IS NULL AND r.started <> $2::timestamptz
      AND r.sourcedb IS NOT DISTINCT FROM $4::text AND r.targetdb IS NOT DISTINCT FROM $5::text
), shown AS (
    UPDATE bucardo.syncrun AS r
    SET status = $3::text, truncates = $7::integer, deletes = $8::bigint, inserts = $9::bigint, conflicts = $10::bigint
    WHERE r.sync = $1::text AND r.ended IS NULL AND r.started = $2::timestamptz
      AND r.sourcedb IS NOT DISTINCT FROM $4::text AND r.targetdb IS NOT DISTINCT FROM $5::text
    RETURNING 1
)
INSERT INTO bucardo.syncrun (sync, started, status, sourcedb, targetdb, pid, truncates, deletes, inserts, conflicts)
SELECT s.name, $2::timestamptz, $3::text, $4::text, $5::text, $6::integer, $7::integer, $8::bigint, $9::bigint,
       $10::bigint
FROM bucardo.sync AS s
WHERE s.name = $1::text AND NOT EXISTS (SELECT 1 FROM shown)
