-- For the rows of a few keys, looked up again and again in one transaction: never by reading the whole table.
SET LOCAL enable_seqscan = off;
SET LOCAL cpu_tuple_cost = 0.3;
SET LOCAL random_page_cost = 0.5
