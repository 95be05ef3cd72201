-- Keeps conflicts until they are in the control database.
--   $1 text sync   $2 text[] ids   $3 text[] what is known of each
INSERT INTO bucardo.conflict_kept (id, db, sync, body)
SELECT c.id, '', $1, c.body::json FROM unnest($2::text[], $3::text[]) AS c (id, body)
ON CONFLICT (id, db) DO NOTHING
