-- Sum counters from two masters.
--   whenrun=conflict relation=counters
-- Each master counts in a column of its own, so that of two values of a column the larger is the newer one; the sum is
-- from_a + from_b. Whatever is merged twice changes nothing. No row: the strategy of the sync decides.
SELECT jsonb_build_object('row', ($1->'rows'->'A') || jsonb_build_object(
    'from_a', greatest(($1#>>'{rows,A,from_a}')::bigint, ($1#>>'{rows,B,from_a}')::bigint),
    'from_b', greatest(($1#>>'{rows,A,from_b}')::bigint, ($1#>>'{rows,B,from_b}')::bigint)
))
WHERE jsonb_typeof($1#>'{rows,A}') = 'object' AND jsonb_typeof($1#>'{rows,B}') = 'object'
