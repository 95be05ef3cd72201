-- Writes conflicts that the history does not have yet, and counts them in the same breath; returns which these are.
-- Arrays of equal length, an element each a conflict, no id twice:
--   $1 text[]          ids
--   $2 text[]          syncs
--   $3 text[]          schemas
--   $4 text[]          tables
--   $5 text[]          keys, as JSON
--   $6 text[]          strategies
--   $7 text[]          winners
--   $8 text[]          versions, as JSON objects by database
--   $9 text[]          rows, as JSON objects by database
--   $10 timestamptz[]  when they were decided
WITH fresh AS (
    INSERT INTO bucardo.conflict
        (id, sync, schemaname, tablename, key, strategy, winner, versions, rows, time)
    SELECT g.id, g.sync, g.schemaname, g.tablename, g.key::jsonb, g.strategy, g.winner, g.versions::jsonb,
           g.rows::jsonb, g.time
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::timestamptz[])
        AS g (id, sync, schemaname, tablename, key, strategy, winner, versions, rows, time)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, sync, schemaname, tablename, time
), counted AS (
    INSERT INTO bucardo.conflict_total AS t (sync, schemaname, tablename, conflicts, last)
    SELECT f.sync, f.schemaname, f.tablename, count(*), max(f.time)
    FROM fresh AS f
    GROUP BY f.sync, f.schemaname, f.tablename
    ORDER BY f.sync, f.schemaname, f.tablename
    ON CONFLICT (sync, schemaname, tablename) DO UPDATE
    SET conflicts = t.conflicts + excluded.conflicts, last = greatest(t.last, excluded.last)
)
SELECT f.id FROM fresh AS f
