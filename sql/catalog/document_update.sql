-- Writes columns of one row of a table of the catalog.
--   {table} {columns}   $1 jsonb  the columns   $2 jsonb  what the row is known by
UPDATE {table} AS t SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1::jsonb))
WHERE to_jsonb(t) @> $2::jsonb
