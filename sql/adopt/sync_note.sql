-- Notes a sync whose changes are carried over.
--   $1 text sync   $2 text group of databases
INSERT INTO bucardo_perl.taken_sync (sync, dbgroup) VALUES ($1, $2) ON CONFLICT (sync) DO NOTHING
