-- The position of a target before its first round. An existing one is overwritten only when the target is new to
-- the sync ($5): it is then left over from an earlier time, as are tables in quarantine.
--   $1 text sync   $2 text source   $3 text snapshot   $4 bigint system_id   $5 boolean new
WITH left_over AS (DELETE FROM bucardo.quarantine WHERE sync = $1 AND source = $2 AND $5)
INSERT INTO bucardo.position AS p (sync, source, snapshot, system_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (sync, source) DO UPDATE
SET snapshot = excluded.snapshot, system_id = excluded.system_id, round = 0, copy_request = 0,
    deletes = 0, inserts = 0, quarantine = p.quarantine + 1, updated = now()
WHERE $5
