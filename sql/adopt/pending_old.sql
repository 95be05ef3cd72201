-- Carries over the changes of a table that version 4 or 3 has not delivered to all of some databases: keys are text there.
--   {delta} {keys} {columns}   $1 oid table   $2 text[] databases   $3 text origin
INSERT INTO {delta} ({keys}, txntime, origin)
SELECT {columns}, max(d.txntime), $3::text
FROM bucardo.bucardo_delta AS d
WHERE d.tablename = $1
  AND EXISTS (SELECT FROM unnest($2::text[]) AS r (target)
              WHERE NOT EXISTS (SELECT FROM bucardo.bucardo_track AS t
                                WHERE t.txntime = d.txntime AND t.tablename = d.tablename AND t.targetdb = r.target))
GROUP BY {columns}
