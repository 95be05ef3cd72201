-- Settings of version 3 or 4 that somebody has changed, or cannot be seen to have left.
SELECT CASE lower(c.setting) WHEN 'default_standard_conflict' THEN 'default_conflict_strategy' ELSE lower(c.setting) END AS name,
       c.value AS value
FROM bucardo_perl.bucardo_config AS c
WHERE lower(c.setting) NOT IN ('bucardo_version', 'bucardo_initial_version', 'bucardo_current_version')
  AND to_jsonb(c) ->> 'name' IS NULL AND to_jsonb(c) ->> 'defval' IS DISTINCT FROM c.value
ORDER BY 1
