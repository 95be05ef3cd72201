-- Carries over the changes of a table that version 5 has not delivered to a group of databases.
--   {delta} {keys} {columns} {kept_delta} {kept_track}   $1 text "dbgroup NAME"   $2 text origin
INSERT INTO {delta} ({keys}, txntime, origin)
SELECT {columns}, max(d.txntime), $2::text
FROM {kept_delta} AS d
WHERE NOT EXISTS (SELECT FROM {kept_track} AS t WHERE t.txntime = d.txntime AND t.target = $1::text)
GROUP BY {columns}
