-- Takes a table or sequence out of a relgroup.
--   $1 text     the relgroup
--   $2 integer  the table or sequence
DELETE FROM bucardo.herdmap WHERE herd = $1::text AND goat = $2::integer
