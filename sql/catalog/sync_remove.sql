-- Removes a sync; its run history stays, without its name.
--   $1 text  its name
DELETE FROM bucardo.sync WHERE name = $1::text
