-- Conflicts that the history has already get the rows and versions that they lack; what they have stays.
-- Arrays of equal length, an element each a conflict, no id twice:
--   $1 text[]  ids
--   $2 text[]  versions, as JSON objects by database
--   $3 text[]  rows, as JSON objects by database
UPDATE bucardo.conflict AS c
SET versions = g.versions::jsonb || c.versions, rows = g.rows::jsonb || c.rows
FROM unnest($1::text[], $2::text[], $3::text[]) AS g (id, versions, rows)
WHERE c.id = g.id
  AND (g.versions::jsonb || c.versions <> c.versions OR g.rows::jsonb || c.rows <> c.rows)
