-- Captured tables that no sync wants any more, and the functions of their triggers.
SELECT c.id,
       c.schemaname,
       c.tablename,
       c.deltaname,
       ARRAY(
           SELECT p.oid::regprocedure::text
           FROM pg_proc AS p
           WHERE p.pronamespace = 'bucardo'::regnamespace AND left(p.proname, length('capture_' || c.id || '_'))
               = 'capture_' || c.id || '_'
       ) AS functions
FROM bucardo.captured AS c
WHERE NOT EXISTS (SELECT 1 FROM bucardo.captured_sync AS s WHERE s.captured = c.id)
ORDER BY c.id
