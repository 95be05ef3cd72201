-- Adds a row to a table of the catalog; columns that are not named get what the table says.
--   {table} {columns}   $1 jsonb  the columns
INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1::jsonb)
