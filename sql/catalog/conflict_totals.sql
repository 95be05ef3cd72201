-- How many conflicts there were, by sync and table, and the last one of each; those that were pruned count, too.
SELECT t.sync, t.schemaname, t.tablename, t.conflicts, t.last
FROM bucardo.conflict_total AS t
ORDER BY t.sync, t.schemaname, t.tablename
