-- Settings of every session, so that values read in one database mean the same in another, and the facts
-- that the program wants to know of the server. The first column is read before it is set.
-- Timeouts that are set for applications would end a long copy again and again; rows that policies hide must be an
-- error, not rows that are gone; what has been told as committed must survive a crash; and a server whose client was
-- cut off or killed must notice, even while it waits, because its session holds locks.
SELECT pg_catalog.current_setting('default_transaction_read_only') AS read_only_before,
       pg_catalog.set_config('default_transaction_read_only', 'off', false),
       pg_catalog.set_config('client_encoding', 'UTF8', false),
       pg_catalog.set_config('DateStyle', 'ISO', false),
       pg_catalog.set_config('IntervalStyle', 'postgres', false),
       pg_catalog.set_config('TimeZone', 'UTC', false),
       pg_catalog.set_config('extra_float_digits', '3', false),
       pg_catalog.set_config('bytea_output', 'hex', false),
       pg_catalog.set_config('lc_monetary', 'C', false),
       pg_catalog.set_config('xmloption', 'content', false),
       pg_catalog.set_config('search_path', 'pg_catalog', false),
       pg_catalog.set_config('standard_conforming_strings', 'on', false),
       pg_catalog.set_config('client_min_messages', 'warning', false),
       pg_catalog.set_config('row_security', 'off', false),
       pg_catalog.set_config('statement_timeout', '0', false),
       pg_catalog.set_config('lock_timeout', '0', false),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '0', false),
       CASE WHEN pg_catalog.current_setting('client_connection_check_interval', true) IS NOT NULL
                 AND pg_catalog.version() LIKE '%linux%'
            THEN pg_catalog.set_config('client_connection_check_interval', '5s', false) END,
       CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL
            THEN pg_catalog.set_config('transaction_timeout', '0', false) END,
       CASE WHEN pg_catalog.current_setting('synchronous_commit') = 'off'
            THEN pg_catalog.set_config('synchronous_commit', 'local', false) END,
       pg_catalog.set_config('tcp_keepalives_idle', '10', false),
       pg_catalog.set_config('tcp_keepalives_interval', '5', false),
       pg_catalog.set_config('tcp_keepalives_count', '4', false),
       CASE WHEN pg_catalog.current_setting('tcp_user_timeout', true) IS NOT NULL
            THEN pg_catalog.set_config('tcp_user_timeout', '120000', false) END,
       pg_catalog.current_setting('server_version_num') AS server_version_num,
       pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.pg_backend_pid() AS backend_pid
