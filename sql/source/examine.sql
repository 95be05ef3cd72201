-- How a database is, as far as replication is concerned. Needs no right but to connect.
SELECT current_setting('server_version') AS version,
       current_user::text AS role,
       (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) AS is_superuser,
       pg_is_in_recovery() AS is_standby,
       current_setting('max_connections')::integer AS connections_max,
       (SELECT count(*) FROM pg_stat_activity AS a WHERE a.backend_type = 'client backend') AS connections,
       (SELECT extract(epoch FROM max(now() - a.xact_start))::float8 FROM pg_stat_activity AS a
         WHERE a.backend_type = 'client backend' AND a.datname = current_database() AND a.pid <> pg_backend_pid()
       ) AS oldest_transaction,
       (SELECT extract(epoch FROM max(now() - p.prepared))::float8 FROM pg_prepared_xacts AS p
         WHERE p.database = current_database()
       ) AS oldest_prepared,
       (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
         WHERE c.relnamespace = to_regnamespace('bucardo') AND c.relkind = 'r' AND c.relname LIKE 'delta\_%'
       ) AS delta_bytes,
       ARRAY(
           SELECT format('ALTER TABLE %s ENABLE TRIGGER %I', t.tgrelid::regclass, t.tgname)
           FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
           WHERE p.pronamespace = to_regnamespace('bucardo') AND NOT t.tgisinternal AND t.tgenabled IN ('D', 'R')
           ORDER BY 1
       ) AS disabled
