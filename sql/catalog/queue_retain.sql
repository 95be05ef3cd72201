-- Forgets the queues of databases that are within their budget again.
--   $1 text[] the databases that were looked at
--   $2 text[] sources   $3 text[] syncs   $4 text[] readers: those that stay
DELETE FROM bucardo.over_budget AS o
WHERE o.db = ANY ($1::text[])
  AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[], $4::text[]) AS k (db, sync, target)
                  WHERE k.db = o.db AND k.sync = o.sync AND k.target = o.target)
