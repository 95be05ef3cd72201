-- Whether a sync wants to hear of a table here.
--   $1 text sync
SELECT EXISTS (SELECT FROM bucardo.captured_sync WHERE sync = $1) AS heard
