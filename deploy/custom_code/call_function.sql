-- db: B
-- Call a function after each sync.
--   whenrun=after_sync sync=orders
SELECT refresh_totals()
