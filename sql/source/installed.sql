-- What is in place: bodies of our functions, and the enabled triggers of some tables with what they call.
--   $1 text[] function names   $2 oid[] tables   $3 text trigger prefix
SELECT coalesce((SELECT jsonb_object_agg(p.proname, p.prosrc)
                 FROM pg_catalog.pg_proc p
                 WHERE p.pronamespace = 'bucardo'::regnamespace AND p.proname = ANY ($1)
                   AND p.prosecdef AND pg_catalog.pg_has_role(p.proowner, 'USAGE')), '{}') AS bodies,
       (SELECT coalesce(array_agg(t.tgrelid::text || ' ' || t.tgname || ' ' || f.proname), '{}')
        FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
        WHERE t.tgrelid = ANY ($2) AND left(t.tgname::text, length($3)) = $3 AND t.tgenabled = 'O'
          AND NOT t.tgisinternal) AS triggers
