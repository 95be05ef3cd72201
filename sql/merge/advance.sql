-- How far this source has read the others, in the transaction that wrote what they had.
--   $1 text sync   $2 text[] sources   $3 text[] snapshots   $4 bigint[] system_ids   $5 bigint[] timelines
--   $6 text this db, for whose row the counts are   $7 bigint deletes   $8 bigint inserts
UPDATE bucardo.position AS p
SET snapshot = n.snapshot, round = p.round + 1, system_id = n.system_id, timeline = n.timeline,
    deletes = p.deletes + CASE WHEN n.source = $6 THEN $7::bigint ELSE 0 END,
    inserts = p.inserts + CASE WHEN n.source = $6 THEN $8::bigint ELSE 0 END, updated = now()
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS n (source, snapshot, system_id, timeline)
WHERE p.sync = $1 AND p.source = n.source
