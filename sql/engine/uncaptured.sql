-- Tables whose changes are not captured, or not all of them, or not where they are looked for, one row each:
--   gone      there is no such table any more
--   anew      another table has its name
--   renamed   it has another name; its changes are captured
--   triggers  its triggers are not there, or do not fire
--   key       only the one that sees keys change is not there
--   joined    it belongs to another table by now, whose statements change its rows and do not fire its triggers, unless
--             these are for each row
--   number    it is registered under another number by now, or not at all; nothing else is said of it
-- and, with its name, the first partition that came later: not captured when it is written to directly, or captured
-- since, but its earlier rows have to be told.
--   $1 int[] captured tables
SELECT c.id, c.schemaname, c.tablename, p.partition, p.why
FROM bucardo.captured AS c
CROSS JOIN LATERAL (
    WITH RECURSIVE tree AS (
        SELECT c.relation AS oid
        UNION ALL
        SELECT i.inhrelid
        FROM tree AS t
        JOIN pg_inherits AS i ON i.inhparent = t.oid
        JOIN pg_class AS parent ON parent.oid = t.oid AND parent.relkind = 'p'
    )
    SELECT CASE WHEN t.oid <> c.relation THEN t.oid::regclass::text END AS partition,
           CASE WHEN own.others < 4 THEN 'triggers' ELSE 'key' END AS why, 2 AS weight
    FROM tree AS t
    JOIN pg_class AS r ON r.oid = t.oid
    CROSS JOIN LATERAL (
        SELECT count(*) AS triggers, count(*) FILTER (WHERE g.tgname <> 'bucardo_delta_key') AS others
        FROM pg_trigger AS g
        WHERE g.tgrelid = t.oid AND left(g.tgname::text, 14) = 'bucardo_delta_' AND g.tgenabled IN ('O', 'A')
    ) AS own
    WHERE r.relkind IN ('r', 'p') AND own.triggers < CASE r.relkind WHEN 'p' THEN 4 ELSE 5 END
    UNION ALL
    SELECT NULL,
           CASE WHEN named.oid IS NOT NULL THEN 'anew' WHEN own.oid IS NOT NULL THEN 'renamed' ELSE 'gone' END,
           CASE WHEN named.oid IS NULL AND own.oid IS NOT NULL THEN 3 ELSE 1 END
    FROM (SELECT to_regclass(format('%I.%I', c.schemaname, c.tablename))::oid AS oid) AS named
    LEFT JOIN pg_class AS own ON own.oid = c.relation
    WHERE c.relation IS DISTINCT FROM named.oid
    UNION ALL
    SELECT NULL, 'joined', 2
    WHERE EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.relation)
      AND EXISTS (SELECT FROM tree AS t
                  JOIN pg_class AS r ON r.oid = t.oid AND r.relkind = 'r'
                  JOIN pg_trigger AS g ON g.tgrelid = t.oid AND g.tgtype & 1 = 0
                  WHERE g.tgname IN ('bucardo_delta_insert', 'bucardo_delta_update', 'bucardo_delta_delete'))
    UNION ALL
    SELECT a.partition::regclass::text, 'rows', 4 FROM bucardo.adopted AS a WHERE a.captured = c.id
    ORDER BY partition NULLS FIRST, weight
    LIMIT 1
) AS p
WHERE c.id = ANY ($1::int[])
UNION ALL
SELECT w.id, NULL, NULL, NULL, 'number'
FROM unnest($1::int[]) AS w (id)
WHERE NOT EXISTS (SELECT FROM bucardo.captured AS c WHERE c.id = w.id)
ORDER BY id
