-- Where to cut a backlog: the first transaction that no longer fits, but never the first of all.
--   {deltas} SELECT txid FROM … UNION ALL …   $1 bigint rows that fit
SELECT c.txid
FROM (SELECT t.txid, sum(t.changes) OVER (ORDER BY t.txid) AS total, t.changes
      FROM (SELECT d.txid, count(*) AS changes
            FROM ({deltas}) AS d
            WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
              AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
            GROUP BY d.txid) AS t) AS c
WHERE c.total > $1::bigint AND c.total > c.changes
ORDER BY c.txid
LIMIT 1
