-- Copies of the sync from other sources that are under way are given up: this one overwrites them.
--   $1 text sync   $2 text source
UPDATE bucardo.position SET copy_request = 0 WHERE sync = $1 AND source <> $2 AND copy_request < 0
