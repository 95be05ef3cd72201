-- Where version 5 keeps the changes of a table and what it has delivered of them: by its own list of names, else by the
-- function of the trigger. No row: nowhere.
--   $1 oid   $2 text its schema   $3 text its name
WITH named AS (
    SELECT d.deltaname, d.trackname
    FROM bucardo.bucardo_delta_names AS d
    WHERE d.tablename IN (format('%I.%I', $2::text, $3::text), $2::text || '.' || $3::text)
    UNION ALL
    SELECT quote_ident(p.proname), quote_ident('track_' || substr(p.proname, 7))
    FROM pg_trigger AS t
    JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = $1 AND t.tgname = 'bucardo_delta' AND p.pronamespace = to_regnamespace('bucardo')
),
found AS (
    SELECT coalesce(to_regclass('bucardo.' || n.deltaname), to_regclass('bucardo_perl.' || n.deltaname)) AS delta,
           coalesce(to_regclass('bucardo.' || n.trackname), to_regclass('bucardo_perl.' || n.trackname)) AS track
    FROM named AS n
)
SELECT d.relname::text AS delta, d.relnamespace::regnamespace::text AS deltaschema,
       t.relname::text AS track, t.relnamespace::regnamespace::text AS trackschema,
       to_regclass(format('bucardo.%I', 'stage_' || substr(d.relname, 7))) IS NOT NULL AS has_stage
FROM found AS f
JOIN pg_class AS d ON d.oid = f.delta AND d.relkind = 'r'
JOIN pg_class AS t ON t.oid = f.track AND t.relkind = 'r'
LIMIT 1
