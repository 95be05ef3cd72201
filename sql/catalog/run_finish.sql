-- Ends the open run of a sync. It becomes its last good or last bad one, and the former one is that no more.
--   $1 text         the sync
--   $2 timestamptz  when it ended
--   $3 boolean      whether it went well
--   $4 text         status text
--   $5 integer      truncates
--   $6 bigint       deletes
--   $7 bigint       inserts
--   $8 bigint       conflicts
--   $9 text         details
WITH former AS (
    UPDATE bucardo.syncrun
    SET lastgood = lastgood AND NOT $3::boolean, lastbad = lastbad AND $3::boolean
    WHERE sync = $1::text AND ended IS NOT NULL AND (lastgood AND $3::boolean OR lastbad AND NOT $3::boolean)
)
UPDATE bucardo.syncrun
SET ended = $2::timestamptz, lastgood = $3::boolean, lastbad = NOT $3::boolean, status = $4::text,
    truncates = $5::integer, deletes = $6::bigint, inserts = $7::bigint, conflicts = $8::bigint, details = $9::text
WHERE sync = $1::text AND ended IS NULL
