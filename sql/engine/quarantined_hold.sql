-- Keeps the changes of a table from this snapshot on, before the target's position goes past them. An older hold that
-- is still there keeps more. Of a table that is registered under another number by now there is nothing to keep.
--   $1 text sync   $2 text target   $3 int captured   $4 text snapshot
INSERT INTO bucardo.quarantined (sync, target, captured, snapshot) 
SELECT $1, $2, c.id, $4 FROM bucardo.captured AS c WHERE c.id = $3
ON CONFLICT DO NOTHING
