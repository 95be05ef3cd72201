-- Statements that copy the rows of a catalog of version 3, 4 or 5 to ours: every column that both have. Its triggers
-- bring older words into those of today. A db or sync that a daemon marked stalled is tried again.
SELECT w.name,
       format('INSERT INTO bucardo.%1$I (%2$s) SELECT %3$s FROM bucardo_perl.%1$I', w.name,
              string_agg(quote_ident(n.attname), ', ' ORDER BY n.attnum),
              string_agg(CASE
                  WHEN w.name IN ('db', 'sync') AND n.attname = 'status'
                      THEN 'CASE status WHEN ''stalled'' THEN ''active'' ELSE status END'
                  WHEN w.name = 'dbmap' AND n.attname = 'role' THEN 'lower(role)'
                  WHEN o.atttypid = n.atttypid THEN quote_ident(o.attname)
                  WHEN o.atttypid = 'boolean'::regtype AND n.atttypid = 'smallint'::regtype
                      THEN format('%I::integer::smallint', o.attname)
                  WHEN o.atttypid = 'boolean'::regtype THEN format('CASE WHEN %I THEN ''on'' END', o.attname)
                  ELSE format('%I::text::%s', o.attname, format_type(n.atttypid, n.atttypmod)) END,
                  ', ' ORDER BY n.attnum)) AS statement
FROM unnest(ARRAY['db', 'dbgroup', 'dbmap', 'goat', 'bucardo_custom_trigger', 'herd', 'herdmap', 'sync', 'customcode',
                  'customcode_map', 'customname', 'customcols', 'syncrun', 'db_connlog', 'bucardo_rate', 'upgrade_log'])
         WITH ORDINALITY AS w (name, place)
JOIN pg_attribute AS n ON n.attrelid = to_regclass('bucardo.' || w.name) AND n.attnum > 0 AND NOT n.attisdropped
JOIN pg_attribute AS o ON o.attrelid = to_regclass('bucardo_perl.' || w.name) AND o.attname = n.attname
    AND o.attnum > 0 AND NOT o.attisdropped
GROUP BY w.name, w.place
ORDER BY w.place
