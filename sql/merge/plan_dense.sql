-- For many rulings on most of the keys between two, in this transaction: the index is read from the one to the other, rather
-- than looked into for each key.
--   {low} {high} integers, as literals
SET LOCAL enable_seqscan = off;
SET LOCAL enable_nestloop = off;
SET LOCAL bucardo.low = {low};
SET LOCAL bucardo.high = {high}
