-- The last request for a whole copy that this target has answered.
--   $1 text  the sync
--   $2 text  the source
SELECT p.copy_request FROM bucardo.position AS p WHERE p.sync = $1::text AND p.source = $2::text
