-- Keys of some tables that wait here since another row had their unique value, and were not tried for a while: the longer
-- the more often they were. By source, schema and table.
--   $1 text sync   $2 text[] schemas   $3 text[] tables, one for each
SELECT n.source, n.schemaname, n.tablename, array_agg(n.key) AS keys, array_agg(n.since) AS since
FROM (
    SELECT d.source, d.schemaname, d.tablename, d.key::text AS key, d.since
    FROM unnest($2::text[], $3::text[]) AS t (schemaname, tablename)
    JOIN bucardo.deadletter AS d ON d.schemaname = t.schemaname AND d.tablename = t.tablename
    WHERE d.sync = $1 AND d.sqlstate IN ('23505', '23P01')
      AND d.tried < now() - least(interval '10 seconds' * power(2, least(d.tries, 9)), interval '1 hour')
    ORDER BY d.tried
    LIMIT 100) AS n
GROUP BY n.source, n.schemaname, n.tablename
