-- A pair went well: its trouble is over.
--   $1 text  the sync
--   $2 text  the source
--   $3 text  the target
DELETE FROM bucardo.trouble WHERE sync = $1::text AND source = $2::text AND target = $3::text
