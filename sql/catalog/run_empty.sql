-- Notes that a sync was looked at and had nothing to do: one row a sync, written again each time.
--   $1 text         the sync
--   $2 timestamptz  when it began
--   $3 timestamptz  when it ended
UPDATE bucardo.syncrun
SET started = $2::timestamptz, ended = $3::timestamptz, status = 'No delta rows found'
WHERE sync = $1::text AND lastempty
