-- Values as the columns of a table of the catalog hold them.
--   {table}   $1 jsonb  some columns
SELECT to_jsonb(jsonb_populate_record(NULL::{table}, $1::jsonb)) AS row
