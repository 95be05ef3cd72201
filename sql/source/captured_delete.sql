-- Forgets a table.
--   $1 int id
DELETE FROM bucardo.captured WHERE id = $1
