-- Notes a test of a connection.
--   $1 text  the database
--   $2 text  what was connected to, without password
--   $3 text  good or unknown
--   $4 text  version of the server
INSERT INTO bucardo.db_connlog (db, connstring, status, version) VALUES ($1::text, $2::text, $3::text, $4::text)
