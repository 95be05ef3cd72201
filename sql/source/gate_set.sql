-- Sets the gate of a sync, at once and for everybody.
--   $1 text the sequence   $2 bigint 1 notify, 2 quiet
SELECT setval($1::text::regclass, $2)
