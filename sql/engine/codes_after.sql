-- Sets what custom codes may have changed, for the session as it was set there and for the transaction as it was before.
-- What a round sets for codes is always put back: who sets it alike for the session leaves nothing to see.
--   {before}  literal: json of settings by name, in the transaction before a code asked
--   {session} literal: the same of the session
SELECT set_config(c.name, c.of_session, false), set_config(c.name, c.of_transaction, true)
FROM (SELECT s.name, s.setting, coalesce(o.value, s.reset_val) AS of_session,
             coalesce(b.value, o.value, s.reset_val) AS of_transaction
      FROM pg_settings AS s
           LEFT JOIN json_each_text({before}) AS b ON b.key = s.name
           LEFT JOIN json_each_text({session}) AS o ON o.key = s.name
      WHERE s.source = 'session' OR b.key IS NOT NULL
      UNION ALL
      SELECT b.key, current_setting(b.key, true), coalesce(o.value, ''), b.value
      FROM json_each_text({before}) AS b LEFT JOIN json_each_text({session}) AS o ON o.key = b.key
      WHERE b.key LIKE 'bucardo.%') AS c
WHERE c.setting IS DISTINCT FROM c.of_transaction
   OR c.name IN ('search_path', 'statement_timeout', 'session_replication_role', 'enable_seqscan', 'enable_nestloop',
                 'enable_sort', 'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin', 'cpu_tuple_cost',
                 'random_page_cost', 'work_mem', 'jit')
