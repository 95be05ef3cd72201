-- Says what the open run of a sync does.
--   $1 text  the sync
--   $2 text  what it does
UPDATE bucardo.syncrun SET status = $2::text WHERE sync = $1::text AND ended IS NULL
