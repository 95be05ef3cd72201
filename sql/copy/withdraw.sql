-- Forgets how far a copy in one transaction is: it has ended.
--   $1 text sync   $2 text source   $3 smallint the mode of such copies
DELETE FROM bucardo.copy_job WHERE sync = $1 AND source = $2 AND mode = $3
