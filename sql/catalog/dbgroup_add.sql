-- Adds a group of databases; no row when it exists.
--   $1 text  its name
INSERT INTO bucardo.dbgroup (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING
