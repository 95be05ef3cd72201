-- Tables whose changes are not captured, or not all of them: made anew under the same name, renamed, or without their
-- triggers; and the first partition that came later, which is not captured when it is written to directly.
--   $1 int[] captured tables
SELECT c.schemaname, c.tablename, p.name AS partition
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
    SELECT CASE WHEN t.oid <> c.relation THEN t.oid::regclass::text END AS name
    FROM tree AS t
    LEFT JOIN pg_class AS r ON r.oid = t.oid
    WHERE (r.relkind IN ('r', 'p') OR r.oid IS NULL)
      AND (SELECT count(*) FROM pg_trigger AS g
           WHERE g.tgrelid = t.oid AND left(g.tgname::text, 14) = 'bucardo_delta_' AND g.tgenabled IN ('O', 'A'))
          < CASE r.relkind WHEN 'p' THEN 4 ELSE 5 END
    UNION ALL
    SELECT NULL
    WHERE c.relation IS DISTINCT FROM to_regclass(format('%I.%I', c.schemaname, c.tablename))::oid
    ORDER BY name NULLS FIRST
    LIMIT 1
) AS p
WHERE c.id = ANY ($1)
ORDER BY p.name NULLS FIRST, c.id
LIMIT 1
