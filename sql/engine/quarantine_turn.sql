-- Tells other sessions that the list of tables in quarantine is another one.
--   $1 text sync   $2 text source
UPDATE bucardo.position SET quarantine = quarantine + 1 WHERE sync = $1 AND source = $2 RETURNING quarantine AS turn
