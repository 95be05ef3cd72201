-- Sees what the other session of the merge sees in its transaction, and never waits for long: whoever waits for a lock
-- on the table may wait for that one.
--   {snapshot}
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET TRANSACTION SNAPSHOT {snapshot};
SET LOCAL lock_timeout = '500ms'
