-- Removes the tables and sequences of a database.
--   $1 text  its name
DELETE FROM bucardo.goat WHERE db = $1::text
