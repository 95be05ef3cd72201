-- How far the readers of a sync are here.
--   $1 text sync
SELECT target, snapshot FROM bucardo.track WHERE sync = $1 ORDER BY target
