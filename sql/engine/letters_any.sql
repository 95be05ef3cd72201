-- Whether any key of a table waits as a dead letter.
--   $1 text sync   $2 text schema   $3 text table
SELECT EXISTS (
    SELECT FROM bucardo.deadletter AS d WHERE d.sync = $1 AND d.schemaname = $2 AND d.tablename = $3) AS any
