-- A table went on. That its indexes are made commits with them.
--   $1 text sync   $2 text source   $3 int goat   $4 text state
UPDATE bucardo.copy_table SET state = $4, index_names = '{}', indexes = '{}' WHERE sync = $1 AND source = $2 AND goat = $3
