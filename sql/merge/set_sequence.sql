-- Brings a sequence to where the furthest one is, unless it has gone further itself meanwhile. Not undone by a rollback.
--   {sequence} {literal}   $1 bigint last_value   $2 boolean is_called   $3 boolean whether it goes up
SELECT setval({literal}::regclass, $1::bigint, $2::boolean)
FROM {sequence} AS s
WHERE CASE WHEN $3::boolean THEN (s.last_value, s.is_called) < ($1::bigint, $2::boolean)
           ELSE (-s.last_value::numeric, s.is_called) < (-$1::numeric, $2::boolean) END
