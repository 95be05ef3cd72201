-- Whose catalog the control database has: settings of versions 3 and 4 have a column "value".
SELECT NOT EXISTS (SELECT FROM pg_attribute AS a
                   WHERE a.attrelid = to_regclass('bucardo.bucardo_config') AND a.attname = 'value') AS named,
       to_regclass('bucardo_perl.bucardo_config') IS NOT NULL AS kept
