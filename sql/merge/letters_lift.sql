-- Keys of one table that this source has got in this merge, or whose row others have got from it, wait no longer.
--   {take} {give} {delta} {row} (of w.key) {on} (of t and k) {same} (of t and d)   $1 text sync   $2 text schema   $3 text table
WITH waiting AS (
    SELECT l.key FROM bucardo.deadletter AS l WHERE l.sync = $1 AND l.schemaname = $2 AND l.tablename = $3)
DELETE FROM bucardo.deadletter AS l
WHERE l.sync = $1 AND l.schemaname = $2 AND l.tablename = $3 AND l.key IN (
    SELECT w.key FROM waiting AS w CROSS JOIN LATERAL {row} AS t
    JOIN {take} AS k ON {on}
    UNION ALL
    SELECT w.key FROM waiting AS w CROSS JOIN LATERAL {row} AS t
    JOIN {give} AS k ON {on}
    UNION ALL
    SELECT w.key FROM waiting AS w CROSS JOIN LATERAL {row} AS t
    JOIN {delta} AS d ON {same}
    WHERE d.txid = txid_current() AND d.origin IS NOT NULL)
