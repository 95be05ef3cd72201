-- Adds a custom name, column list or row filter; returns its number.
--   {mappings}  table of the catalog
--   {clause}    its column
--   $1 integer  table or sequence
--   $2 text     the name or clause
--   $3 text     for this database; NULL: for all
--   $4 text     for this sync; NULL: for all
INSERT INTO {mappings} (goat, {clause}, db, sync) VALUES ($1::integer, $2::text, $3::text, $4::text) RETURNING id
