-- One notice in both styles: as a channel of its own, and as payload of channel "bucardo".
--   $1 text  the notice
SELECT pg_catalog.pg_notify('bucardo_' || $1::text, ''), pg_catalog.pg_notify('bucardo', $1::text)
