-- Removes a custom code, and what it is for.
--   $1 integer  its number
DELETE FROM bucardo.customcode WHERE id = $1::integer
