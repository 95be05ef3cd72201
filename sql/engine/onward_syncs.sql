-- The other syncs that a change of a captured table kicks.
--   $1 int captured table   $2 text the sync itself
SELECT sync FROM bucardo.captured_sync WHERE captured = $1 AND kick AND sync <> $2 ORDER BY sync
