-- Syncs that something is kept for in a database.
--   {registry}  one of the tables that say so
SELECT DISTINCT t.sync FROM {registry} AS t ORDER BY 1
