-- Syncs that a change of a captured table kicks.
--   $1 int captured
SELECT sync FROM bucardo.captured_sync WHERE captured = $1 AND kick ORDER BY sync
