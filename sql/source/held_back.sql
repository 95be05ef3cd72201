-- How many rows of a delta table wait for a reader since long, up to a limit: a backlog is not counted to its end.
--   {delta}   $1 text[] positions   $2 float8 seconds   $3 bigint the limit
SELECT count(*) AS changes
FROM (SELECT
      FROM {delta} AS d
      WHERE d.txid >= (SELECT min(txid_snapshot_xmin(p.position::txid_snapshot)) FROM unnest($1::text[]) AS p (position))
        AND d.txntime < now() - make_interval(secs => $2)
        AND EXISTS (SELECT FROM unnest($1::text[]) AS p (position)
                    WHERE NOT txid_visible_in_snapshot(d.txid, p.position::txid_snapshot))
      LIMIT $3) AS held
