-- The conflicts of one table, with this source's row of each.
--   {key} (pairs of name and text) {table} {clash} {on}
DECLARE bucardo_sides NO SCROLL CURSOR FOR
SELECT k.conflict, k.note, json_build_object({key})::text AS key,
       (SELECT to_json(t)::text FROM {table} AS t WHERE {on}) AS side
FROM {clash} AS k
ORDER BY k.conflict COLLATE "C"
