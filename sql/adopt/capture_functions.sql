-- The functions of the triggers of a captured table of ours.
--   $1 int id
SELECT p.oid::regprocedure::text AS function
FROM pg_proc AS p
WHERE p.pronamespace = 'bucardo'::regnamespace
  AND left(p.proname, length('capture_' || $1::int || '_')) = 'capture_' || $1::int || '_'
