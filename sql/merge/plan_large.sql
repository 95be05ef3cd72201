-- For many rulings, in this transaction. Nobody has counted them, and nested loops would look up each.
SET LOCAL enable_seqscan = on;
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off
