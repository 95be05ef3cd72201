-- What is no longer there. The arrays together name it.
--   $1 text[]  kinds
--   $2 text[]  syncs
--   $3 text[]  sources
--   $4 text[]  databases
DELETE FROM bucardo.live AS l
USING unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (kind, sync, source, db)
WHERE (l.kind, l.sync, l.source, l.db) = (k.kind, k.sync, k.source, k.db)
