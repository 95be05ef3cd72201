-- How far a copy is, for people.
--   $1 text sync   $2 text source   $3 bigint tables   $4 bigint rows   $5 bigint bytes
UPDATE bucardo.copy_job SET tables_done = $3, rows = $4, bytes = $5, updated = now() WHERE sync = $1 AND source = $2
