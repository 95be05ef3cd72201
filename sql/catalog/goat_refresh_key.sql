-- Writes the key of a table as it is on its database now.
--   $1 integer  its number
--   $2 text     key columns joined
--   $3 text     the same, quoted
--   $4 text     their types joined
--   $5 text[]   key columns
UPDATE bucardo.goat
SET pkey = $2::text, qpkey = $3::text, pkeytype = $4::text, key_columns = $5::text[]
WHERE id = $1::integer AND (key_columns <> $5::text[] OR pkeytype IS DISTINCT FROM $4::text)
