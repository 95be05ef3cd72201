-- Notes how things are; the arrays together are the lines.
--   $1 text[]         kinds
--   $2 text[]         syncs
--   $3 text[]         sources
--   $4 text[]         databases
--   $5 text[]         states
--   $6 timestamptz[]  since when
--   $7 text[]         why
--   $8 text[]         what a person can do
--   $9 timestamptz[]  when they are tried again
--   $10 text[]        the steps that run
--   $11 int[]         what pings are sent to
--   $12 text[]        tables
--   $13 int[]         sessions on databases
INSERT INTO bucardo.live AS l (kind, sync, source, db, state, since, why, hint, next_try, doing, id, relation,
                               connections)
SELECT k.kind, k.sync, k.source, k.db, k.state, k.since, k.why, k.hint, k.next_try, k.doing, k.id, k.relation,
       k.connections
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
            $9::timestamptz[], $10::text[], $11::int[], $12::text[], $13::int[])
     AS k (kind, sync, source, db, state, since, why, hint, next_try, doing, id, relation,
           connections)
ON CONFLICT (kind, sync, source, db, relation) DO UPDATE
SET state = excluded.state, since = excluded.since, why = excluded.why, hint = excluded.hint,
    next_try = excluded.next_try, doing = excluded.doing, id = excluded.id,
    connections = excluded.connections
