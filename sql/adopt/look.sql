-- What another Bucardo has in this database: which version's tables of changes (5, or 4 and older), and what is kept of it.
SELECT CASE WHEN EXISTS (SELECT FROM pg_class AS c WHERE c.oid = to_regclass('bucardo.bucardo_delta_names') AND c.relkind = 'r')
            THEN 5
            WHEN EXISTS (SELECT FROM pg_class AS c WHERE c.oid = to_regclass('bucardo.bucardo_delta') AND c.relkind = 'r')
            THEN 4 END AS live,
       CASE WHEN to_regclass('bucardo_perl.bucardo_delta_names') IS NOT NULL THEN 5
            WHEN to_regclass('bucardo_perl.bucardo_delta') IS NOT NULL THEN 4 END AS kept,
       to_regclass('bucardo_perl.taken') IS NOT NULL AS has_schema,
       to_regclass('bucardo.bucardo_truncate_trigger') IS NOT NULL AS truncates
