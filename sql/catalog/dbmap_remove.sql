-- Takes a database out of a group.
--   $1 text  the database
--   $2 text  the group
DELETE FROM bucardo.dbmap WHERE db = $1::text AND dbgroup = $2::text
