-- Takes a table up again, in the transaction that brings it to the position.
--   $1 text sync   $2 text source   $3 text schema   $4 text table
DELETE FROM bucardo.quarantine WHERE sync = $1 AND source = $2 AND schemaname = $3 AND tablename = $4
