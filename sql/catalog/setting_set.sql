-- Sets a setting that exists; no row when there is none of that name.
--   $1 text  its name, in any case
--   $2 text  its value, kept as it is
UPDATE bucardo.bucardo_config SET setting = $2::text
WHERE lower(name) = lower($1::text) AND item IS NULL
RETURNING name
