-- Every setting that holds for all.
SELECT name, setting, coalesce(defval, '') AS defval, coalesce(about, '') AS about
FROM bucardo.bucardo_config
WHERE item IS NULL
ORDER BY lower(name)
