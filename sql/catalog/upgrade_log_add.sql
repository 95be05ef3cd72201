-- Notes a change of the schema.
--   $1 text  what was done
--   $2 text  to what
--   $3 text  version of the program
INSERT INTO bucardo.upgrade_log (action, summary, version) VALUES ($1::text, $2::text, $3::text)
