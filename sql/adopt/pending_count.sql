-- How many rows of a table version 5 has not delivered to a group of databases.
--   {columns} {kept_delta} {kept_track}   $1 text "dbgroup NAME"
SELECT count(*) AS rows
FROM (SELECT DISTINCT {columns}
      FROM {kept_delta} AS d
      WHERE NOT EXISTS (SELECT FROM {kept_track} AS t WHERE t.txntime = d.txntime AND t.target = $1::text)) AS k
