-- Rows of a delta table that wait for a target since long.
--   {delta}   $1 text[] positions   $2 float8 seconds
SELECT count(*) AS changes
FROM {delta} AS d
WHERE d.txntime < now() - make_interval(secs => $2)
  AND EXISTS (SELECT FROM unnest($1::text[]) AS p (position)
              WHERE NOT txid_visible_in_snapshot(d.txid, p.position::txid_snapshot))
