-- The queues that are over their budget.
SELECT db, sync, target, since, changes, bytes, oldest, why, done FROM bucardo.over_budget ORDER BY db, sync, target
