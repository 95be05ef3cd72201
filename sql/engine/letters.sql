-- Whether any key of a sync waits here as a dead letter.
--   $1 text sync
SELECT EXISTS (SELECT FROM bucardo.deadletter AS d WHERE d.sync = $1) AS any
