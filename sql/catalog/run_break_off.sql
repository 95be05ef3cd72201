-- Ends what was shown of a run that was broken off: it is neither good nor bad.
--   $1 text  the sync
--   $2 text  where it read, $3 text where it wrote; NULL: all sources
UPDATE bucardo.syncrun AS r
SET ended = now(), status = 'Old entry ended'
WHERE r.sync = $1::text AND r.ended IS NULL
  AND r.sourcedb IS NOT DISTINCT FROM $2::text AND r.targetdb IS NOT DISTINCT FROM $3::text
