-- The session that holds the lease. Nothing in it may hang for good, and a host that is gone shall not keep the
-- lease for longer than half a minute.
SELECT pg_catalog.set_config('statement_timeout', '60s', false),
       pg_catalog.set_config('lock_timeout', '30s', false),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '60s', false),
       pg_catalog.set_config('tcp_keepalives_idle', '10', false),
       pg_catalog.set_config('tcp_keepalives_interval', '5', false),
       pg_catalog.set_config('tcp_keepalives_count', '3', false)
