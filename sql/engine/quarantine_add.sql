-- Puts a table aside, in the transaction that takes the position past its changes; or notes another reason.
--   $1 text sync   $2 text source   $3 text schema   $4 text table   $5 int captured   $6 text snapshot
--   $7 boolean whole   $8 text why
INSERT INTO bucardo.quarantine AS q (sync, source, schemaname, tablename, captured, snapshot, whole, why)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (sync, source, schemaname, tablename) DO UPDATE SET whole = q.whole OR excluded.whole, why = excluded.why
