-- For a large batch, in this transaction: indexes are no longer the obvious way, and sorting keys in memory pays.
SET LOCAL enable_seqscan = on;
SET LOCAL work_mem = '64MB'
