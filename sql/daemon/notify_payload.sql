-- One notice as payload only: its name is too long for a channel.
--   $1 text  the notice
SELECT pg_catalog.pg_notify('bucardo', $1::text)
