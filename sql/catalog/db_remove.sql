-- Removes a database; its group memberships go with it.
--   $1 text  its name
DELETE FROM bucardo.db WHERE name = $1::text
