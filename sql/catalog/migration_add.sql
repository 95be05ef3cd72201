-- Notes a migration as applied.
--   $1 integer  its number
--   $2 text     its name
INSERT INTO bucardo.migration (level, name) VALUES ($1::integer, $2::text)
