-- Keep the longer text.
--   whenrun=conflict relation=notes
SELECT jsonb_build_object('winner', db)
FROM jsonb_array_elements_text($1->'dbs') WITH ORDINALITY AS d (db, place), LATERAL (VALUES ($1->'rows'->db)) AS r (row)
WHERE jsonb_typeof(row) = 'object'
ORDER BY length(coalesce(row->>'note', '')) DESC, place
LIMIT 1
