-- Forgets the troubles of work that nobody does any more. The arrays together name what is done.
--   $1 text[]  syncs
--   $2 text[]  sources
--   $3 text[]  targets
DELETE FROM bucardo.trouble AS t
WHERE NOT EXISTS (
    SELECT 1 FROM unnest($1::text[], $2::text[], $3::text[]) AS k (sync, source, target)
    WHERE k.sync = t.sync AND k.source = t.source AND k.target = t.target
)
