-- Settings of every session, so that values read in one database mean the same in another, and the facts
-- that the program wants to know of the server. The first column is read before it is set.
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
       pg_catalog.current_setting('server_version_num') AS server_version_num,
       pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.pg_backend_pid() AS backend_pid
