-- How far the readers of a sync are here; and of single tables that a reader has put aside, where it stopped.
--   captured  the table; NULL: all of them
--   $1 text sync
SELECT target, snapshot, NULL::int AS captured FROM bucardo.track WHERE sync = $1
UNION ALL
SELECT target, snapshot, captured FROM bucardo.quarantined WHERE sync = $1
ORDER BY target, captured NULLS FIRST
