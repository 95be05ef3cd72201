-- Notes that a pair goes well but for some tables: no failure is counted.
--   $1 text         the sync
--   $2 text         the source
--   $3 text         the target
--   $4 timestamptz  when
--   $5 text         which tables, and why
--   $6 text         what a person can do
INSERT INTO bucardo.trouble AS t (sync, source, target, since, failures, last, why, hint)
SELECT s.name, $2::text, $3::text, $4::timestamptz, 0, $4::timestamptz, $5::text, $6::text
FROM bucardo.sync AS s
WHERE s.name = $1::text
ON CONFLICT (sync, source, target) DO UPDATE
SET since = CASE WHEN t.failures = 0 THEN t.since ELSE excluded.since END, failures = 0, last = excluded.last,
    next_try = NULL, why = excluded.why, hint = excluded.hint
