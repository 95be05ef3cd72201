-- Notes that a table is taken over, in the transaction that does so.
--   $1 oid   $2 text schema   $3 text name   $4 text table of its changes   $5 text table of what was delivered
INSERT INTO bucardo_perl.taken (relation, schemaname, tablename, deltaname, trackname) VALUES ($1, $2, $3, $4, $5)
