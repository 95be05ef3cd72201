-- Writes the status of a sync.
--   $1 text  its name
--   $2 text  active or inactive
UPDATE bucardo.sync SET status = $2::text WHERE name = $1::text
