-- How far a source has merged the other sources of its sync; and where it has stopped with tables that are put aside.
--   $1 text sync   $2 text the source itself
SELECT source, snapshot, system_id, timeline FROM bucardo.position WHERE sync = $1 AND source <> $2
UNION ALL
SELECT q.source, q.snapshot, p.system_id, p.timeline
FROM bucardo.quarantine AS q
JOIN bucardo.position AS p ON p.sync = q.sync AND p.source = q.source
WHERE q.sync = $1 AND q.source <> $2
