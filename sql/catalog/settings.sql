-- Every setting that holds for all, and those of single syncs.
SELECT name, setting, coalesce(defval, '') AS defval, coalesce(about, '') AS about, item AS sync
FROM bucardo.bucardo_config
WHERE item IS NULL OR type = 'sync'
ORDER BY lower(name), item
