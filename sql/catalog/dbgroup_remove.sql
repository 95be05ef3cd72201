-- Removes a group of databases.
--   $1 text  its name
DELETE FROM bucardo.dbgroup WHERE name = $1::text
