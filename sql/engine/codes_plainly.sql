-- For custom codes, in this transaction: plans are made as the role has it, not as a round wants them.
SELECT set_config(name, reset_val, true)
FROM pg_settings
WHERE name IN ('enable_seqscan', 'enable_nestloop', 'enable_sort', 'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin',
               'cpu_tuple_cost', 'random_page_cost', 'work_mem', 'jit')
  AND setting <> reset_val
