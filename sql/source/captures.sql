-- Whether changes are captured for a sync here.
--   $1 text sync
SELECT EXISTS (SELECT FROM bucardo.captured_sync WHERE sync = $1)
    OR EXISTS (SELECT FROM bucardo.track WHERE sync = $1) AS captures
