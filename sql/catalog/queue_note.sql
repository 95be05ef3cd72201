-- Notes that a queue is over its budget. What was done about it stays, also when it is seen again afterwards.
--   $1 text source   $2 text sync   $3 text reader   $4 bigint changes   $5 bigint bytes   $6 timestamptz the oldest
--   $7 text which bound is passed   $8 text what was done; NULL: nothing
INSERT INTO bucardo.over_budget AS o (db, sync, target, changes, bytes, oldest, why, done)
SELECT d.name, s.name, $3::text, $4::bigint, $5::bigint, $6::timestamptz, $7::text, $8::text
FROM bucardo.db AS d, bucardo.sync AS s
WHERE d.name = $1::text AND s.name = $2::text
ON CONFLICT (db, sync, target) DO UPDATE
SET last = now(), changes = excluded.changes, bytes = excluded.bytes, oldest = excluded.oldest, why = excluded.why,
    done = coalesce(excluded.done, o.done)
