-- Brings a sequence to where the source's is. Not undone by a rollback; it is then ahead of nothing but itself.
--   $1 text sequence   $2 bigint last_value   $3 boolean is_called
SELECT setval($1::text::regclass, $2, $3)
