-- The new position, in the transaction that wrote the rows.
--   $1 text sync   $2 text source   $3 text snapshot   $4 bigint round   $5 bigint deletes   $6 bigint inserts
--   $7 bigint copy_request   $8 bigint system_id   $9 bigint timeline
UPDATE bucardo.position
SET snapshot = $3, round = $4, deletes = deletes + $5, inserts = inserts + $6, copy_request = $7, system_id = $8,
    timeline = $9, updated = now()
WHERE sync = $1 AND source = $2
RETURNING deletes, inserts
