-- After many rulings, in this transaction: the next table's keys may be few, and plans made for them are kept.
SET LOCAL enable_seqscan = off;
SET LOCAL enable_nestloop = on;
SET LOCAL cpu_tuple_cost TO DEFAULT;
SET LOCAL random_page_cost TO DEFAULT
