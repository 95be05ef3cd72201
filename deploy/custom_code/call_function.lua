-- Call a function after each sync.
--   whenrun=after_sync sync=orders
input.dbh.B:run("SELECT refresh_totals()")
