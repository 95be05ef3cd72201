-- Route by a column: the row of the master that its column "owner" names counts.
--   whenrun=conflict relation=customers
SELECT jsonb_build_object('winner', row->>'owner')
FROM jsonb_array_elements_text($1->'dbs') WITH ORDINALITY AS d (db, place), (VALUES ($1->'rows')) AS r (rows),
    LATERAL (VALUES (rows->db)) AS s (row)
WHERE jsonb_typeof(row) = 'object' AND jsonb_typeof(rows->(row->>'owner')) = 'object'
ORDER BY place
LIMIT 1
