-- Where to cut a backlog: the first transaction that no longer fits, but never the first of all. Walks the indexes on
-- txid and stops there, however much waits behind.
--   {waiting} the unread txids   $1 bigint rows that fit
SELECT CASE WHEN (SELECT w.txid FROM ({waiting}) AS w ORDER BY w.txid LIMIT 1) < over.txid THEN over.txid
            ELSE (SELECT w.txid FROM ({waiting}) AS w WHERE w.txid > over.txid ORDER BY w.txid LIMIT 1)
       END AS txid
FROM (SELECT w.txid FROM ({waiting}) AS w ORDER BY w.txid OFFSET $1::bigint LIMIT 1) AS over
