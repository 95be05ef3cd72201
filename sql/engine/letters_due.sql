-- Keys of some tables that are to be sent again: a number of those that were not tried by themselves yet; and those that
-- wait here since another row had their unique value, and were not tried for a while, the longer the more often they were.
-- By source, schema and table.
--   $1 text sync   $2 text[] schemas   $3 text[] tables, one for each
WITH waiting AS (
    SELECT d.source, d.schemaname, d.tablename, d.key::text AS key, d.since, d.sqlstate, d.tries, d.tried
    FROM unnest($2::text[], $3::text[]) AS t (schemaname, tablename)
    JOIN bucardo.deadletter AS d ON d.schemaname = t.schemaname AND d.tablename = t.tablename
    WHERE d.sync = $1 AND (d.tries = 0 OR d.sqlstate IN ('23505', '23P01')))
SELECT n.source, n.schemaname, n.tablename, array_agg(n.key) AS keys, array_agg(n.since) AS since
FROM (
    (SELECT w.source, w.schemaname, w.tablename, w.key, w.since FROM waiting AS w WHERE w.tries = 0 LIMIT 1000)
    UNION ALL
    (SELECT w.source, w.schemaname, w.tablename, w.key, w.since
     FROM waiting AS w
     WHERE w.tries > 0 AND w.tried < now() - least(interval '10 seconds' * power(2, least(w.tries, 9)), interval '1 hour')
     ORDER BY w.tried
     LIMIT 100)) AS n
GROUP BY n.source, n.schemaname, n.tablename
