-- Adds a sync; its other columns are written afterwards.
--   $1 text  its name
--   $2 text  its relgroup
--   $3 text  its group of databases
INSERT INTO bucardo.sync (name, herd, dbs) VALUES ($1::text, $2::text, $3::text)
