-- What is no longer there. The arrays together name it.
--   $1 text[]  kinds
--   $2 text[]  syncs
--   $3 text[]  sources
--   $4 text[]  databases
--   $5 text[]  tables
DELETE FROM bucardo.live AS l
USING unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS k (kind, sync, source, db, relation)
WHERE (l.kind, l.sync, l.source, l.db, l.relation) = (k.kind, k.sync, k.source, k.db, k.relation)
