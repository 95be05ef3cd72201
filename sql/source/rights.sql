-- What the role may do in this database, which cluster it is, and which server runs it (a standby has the same number).
SELECT current_user::text AS role,
       current_database()::text AS database,
       CASE WHEN to_regnamespace('bucardo') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege('bucardo', 'CREATE') END AS may_create,
       (SELECT n.nspowner::regrole::text FROM pg_namespace AS n WHERE n.nspname = 'bucardo') AS schema_owner,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_temp,
       -- Who administers a server of RDS, Cloud SQL or Azure: nobody is superuser there.
       (SELECT r.rolname::text FROM pg_roles AS r
        WHERE r.rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')
        ORDER BY r.rolname LIMIT 1) AS administrators,
       pg_is_in_recovery() AS is_standby,
       pg_postmaster_start_time()::text AS server_start,
       (SELECT system_identifier FROM pg_control_system()) AS system_id
