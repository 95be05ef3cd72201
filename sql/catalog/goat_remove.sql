-- Removes a table or sequence, from all relgroups too.
--   $1 integer  its number
DELETE FROM bucardo.goat WHERE id = $1::integer
