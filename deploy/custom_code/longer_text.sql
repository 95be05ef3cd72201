-- Keep the longer text.
--   whenrun=conflict relation=notes
SELECT jsonb_build_object('winner', db)
FROM jsonb_array_elements_text($1->'dbs') WITH ORDINALITY AS d (db, place)
ORDER BY length($1->'rows'->db->>'note') DESC NULLS LAST, place
LIMIT 1
