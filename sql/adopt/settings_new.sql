-- Settings of version 5 that somebody has changed.
SELECT CASE lower(c.name) WHEN 'default_standard_conflict' THEN 'default_conflict_strategy' ELSE lower(c.name) END AS name,
       c.setting AS value
FROM bucardo_perl.bucardo_config AS c
WHERE c.item IS NULL AND lower(c.name) NOT IN ('bucardo_version', 'bucardo_initial_version', 'bucardo_current_version')
  AND (c.setting IS DISTINCT FROM c.defval OR lower(c.name) = 'piddir')
ORDER BY 1
