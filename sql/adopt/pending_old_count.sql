-- How many rows of a table version 4 or 3 has not delivered to all of some databases.
--   {columns}   $1 oid table   $2 text[] databases
SELECT count(*) AS rows
FROM (SELECT DISTINCT {columns}
      FROM bucardo.bucardo_delta AS d
      WHERE d.tablename = $1
        AND EXISTS (SELECT FROM unnest($2::text[]) AS r (target)
                    WHERE NOT EXISTS (SELECT FROM bucardo.bucardo_track AS t
                                      WHERE t.txntime = d.txntime AND t.tablename = d.tablename
                                        AND t.targetdb = r.target))) AS k
