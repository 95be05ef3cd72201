-- Removes a relgroup; its tables stay.
--   $1 text  its name
DELETE FROM bucardo.herd WHERE name = $1::text
