-- The last migration that was applied.
SELECT coalesce(max(level), 0) AS level FROM bucardo.migration
