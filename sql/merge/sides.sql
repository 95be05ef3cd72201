-- The conflicts of one table, with this source's row of each; of a very wide one the beginning, as a string.
--   {key} (pairs of name and text) {table} {clash} {on}
COPY (
    SELECT k.conflict, k.note, json_build_object({key})::text,
           (SELECT CASE WHEN octet_length(j.side) > 65536 THEN to_json(left(j.side, 65536))::text ELSE j.side END
            -- OFFSET 0: else the row would be written as JSON once for each mention.
            FROM (SELECT to_json(t)::text AS side FROM {table} AS t WHERE {on} OFFSET 0) AS j)
    FROM {clash} AS k
    -- As they came, which is the same at all sources.
    ORDER BY k.ctid
) TO STDOUT
