-- Who we are on this server, and what is there already.
--   $1 text  the role that shall own the catalog
--   $2 text  the database for it
SELECT current_user::text AS user_name,
       (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) AS is_superuser,
       (SELECT r.rolsuper OR r.rolcreatedb FROM pg_roles AS r WHERE r.rolname = current_user) AS may_create_database,
       EXISTS (SELECT 1 FROM pg_roles AS r WHERE r.rolname = $1::text) AS role_exists,
       EXISTS (SELECT 1 FROM pg_database AS d WHERE d.datname = $2::text) AS database_exists
