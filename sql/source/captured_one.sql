-- What is registered under an id.
--   $1 int id
SELECT deltaname, key_columns FROM bucardo.captured WHERE id = $1
