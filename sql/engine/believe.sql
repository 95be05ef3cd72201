-- The position of a source that was not read, as the one that was read has merged it. One that does not know the
-- timeline (0) takes nothing away.
--   $1 text sync   $2 text source   $3 text snapshot   $4 bigint system_id   $5 bigint timeline
UPDATE bucardo.position SET snapshot = $3, system_id = $4, timeline = coalesce(nullif($5::bigint, 0), timeline) WHERE sync = $1 AND source = $2
