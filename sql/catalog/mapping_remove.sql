-- Removes a custom name, column list or row filter.
--   {mappings}  table of the catalog
--   $1 integer  its number
DELETE FROM {mappings} WHERE id = $1::integer
