-- For many rulings, in this transaction. To look up a key is cheap beside reading rows that nobody asked for, in particular
-- where most of the table is in memory: with the usual costs a few keys in a hundred would make it read the whole table.
SET LOCAL enable_seqscan = on;
SET LOCAL enable_nestloop = on;
SET LOCAL cpu_tuple_cost = 0.3;
SET LOCAL random_page_cost = 0.5
