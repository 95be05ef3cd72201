-- How far others have read this source, after they committed.
--   $1 text sync   $2 text[] readers   $3 text snapshot   $4 bigint[] rounds
UPDATE bucardo.track AS t
SET snapshot = $3, round = n.round, updated = now()
FROM unnest($2::text[], $4::bigint[]) AS n (target, round)
WHERE t.sync = $1 AND t.target = n.target
