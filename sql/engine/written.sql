-- The places of the tables of which anything was ever captured: a delta table without a page holds no change. Opens no
-- table, which is what costs when there are many.
--   {deltas} the delta tables in order, as literals   {first} the place of the first one
SELECT {first} + w.place::int - 1 AS place
FROM unnest(ARRAY[{deltas}]::regclass[]) WITH ORDINALITY AS w (delta, place)
-- One that was made anew since has no size under its old number; whoever asks it finds it by its name.
WHERE pg_relation_size(w.delta) IS DISTINCT FROM 0
