-- Resolve a unique e-mail clash: the row that comes keeps its address, the one in its way gets another.
--   whenrun=exception relation=users
WITH mended AS (
    UPDATE users AS u SET email = 'taken.' || u.id || '.' || u.email
    FROM jsonb_array_elements($1->'rows') AS r (row)
    WHERE $1->>'sqlstate' = '23505' AND u.email = row->>'email' AND u.id <> (row->>'id')::int
    RETURNING u.id
)
SELECT jsonb_build_object('runagain', true, 'warning', 'an e-mail address was taken') FROM mended LIMIT 1
