-- What this program has in a database, and who else is concerned.
SELECT to_regnamespace('bucardo') IS NOT NULL AS has_schema,
       to_regclass('bucardo.migration') IS NOT NULL AS is_control,
       format('%s %s %s', current_database(), current_setting('port'), pg_postmaster_start_time()) AS identity,
       coalesce(to_regclass('bucardo.captured'), to_regclass('bucardo.position'), to_regclass('bucardo.migration'))
           IS NOT NULL AS is_ours,
       to_regclass('bucardo.bucardo_delta_names') IS NOT NULL AND to_regclass('bucardo.captured') IS NULL AS is_foreign,
       ARRAY(
           SELECT format('%I on %s', t.tgname, t.tgrelid::regclass)
           FROM pg_trigger AS t
           JOIN pg_proc AS p ON p.oid = t.tgfoid
           JOIN pg_class AS c ON c.oid = t.tgrelid
           WHERE p.pronamespace = to_regnamespace('bucardo') AND c.relnamespace <> p.pronamespace AND NOT t.tgisinternal
           ORDER BY t.tgrelid::regclass::text, t.tgname
       ) AS triggers,
       (SELECT count(*) FROM pg_class AS c WHERE c.relnamespace = to_regnamespace('bucardo') AND c.relkind = 'r')
           AS tables,
       ARRAY(
           SELECT DISTINCT v.oid::regclass::text
           FROM pg_depend AS d
           JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
           JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
           JOIN pg_class AS v ON v.oid = r.ev_class
           WHERE c.relnamespace = to_regnamespace('bucardo') AND v.relnamespace <> c.relnamespace
           ORDER BY 1
       ) AS dependents
