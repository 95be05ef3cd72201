-- Notes that a pair failed; the first failure since it last went well begins its trouble.
--   $1 text         the sync
--   $2 text         the source
--   $3 text         the target
--   $4 timestamptz  when it failed
--   $5 timestamptz  when it is tried again; NULL: not known
--   $6 text         why
--   $7 text         what a person can do; may be NULL
INSERT INTO bucardo.trouble AS t (sync, source, target, since, last, next_try, why, hint)
SELECT s.name, $2::text, $3::text, $4::timestamptz, $4::timestamptz, $5::timestamptz, $6::text, $7::text
FROM bucardo.sync AS s
WHERE s.name = $1::text
ON CONFLICT (sync, source, target) DO UPDATE
SET failures = t.failures + 1, last = excluded.last, next_try = excluded.next_try, why = excluded.why,
    hint = excluded.hint
