-- What stands in the schema "bucardo": its tables that tell who made it.
SELECT to_regclass('bucardo.migration') IS NOT NULL AS migrated,
       to_regclass('bucardo.bucardo_config') IS NOT NULL AS configured,
       to_regnamespace('bucardo') IS NOT NULL AS present
