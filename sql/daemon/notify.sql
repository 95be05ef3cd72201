-- One notice in both styles: as a channel of its own, where its name is short enough, and as payload.
--   $1 text  the channel; NULL: payload only
--   $2 text  the channel of the payload
--   $3 text  the payload
SELECT CASE WHEN $1::text IS NOT NULL THEN pg_catalog.pg_notify($1::text, '') END,
       pg_catalog.pg_notify($2::text, $3::text)
