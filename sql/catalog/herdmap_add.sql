-- Puts a table or sequence into a relgroup; no row when it is there.
--   $1 text     the relgroup
--   $2 integer  the table or sequence
INSERT INTO bucardo.herdmap (herd, goat) VALUES ($1::text, $2::integer) ON CONFLICT (herd, goat) DO NOTHING
