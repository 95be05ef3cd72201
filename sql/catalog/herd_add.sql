-- Adds a relgroup; no row when it exists.
--   $1 text  its name
INSERT INTO bucardo.herd (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING
