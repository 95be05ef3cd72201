-- How large a delta table is, at no price: what the statistics and the file say, and both ends of the index.
--   {delta} {name}
SELECT pg_stat_get_live_tuples({name}::regclass) AS live, pg_relation_size({name}::regclass) AS bytes,
       coalesce((SELECT min(txid) FROM {delta}), 0) AS first, coalesce((SELECT max(txid) FROM {delta}), 0) AS last
