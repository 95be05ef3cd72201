-- Says that a custom code is for a sync or a table, or changes how; either of $2 and $3 is NULL.
--   $1 integer   the code
--   $2 text      the sync
--   $3 integer   the table
--   $4 boolean   whether it runs there; NULL: as it was, else true
--   $5 smallint  higher runs first; NULL: as it was, else 0
WITH changed AS (
    UPDATE bucardo.customcode_map AS m
    SET active = coalesce($4::boolean, m.active), priority = coalesce($5::smallint, m.priority)
    WHERE m.code = $1::integer AND (m.sync = $2::text OR m.goat = $3::integer)
    RETURNING m.code
)
INSERT INTO bucardo.customcode_map (code, sync, goat, active, priority)
SELECT $1::integer, $2::text, $3::integer, coalesce($4::boolean, true), coalesce($5::smallint, 0)
WHERE NOT EXISTS (SELECT 1 FROM changed)
