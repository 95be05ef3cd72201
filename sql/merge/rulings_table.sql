-- What this merge does with the keys of one table on this source. Kept from merge to merge, empty between them.
--   verdict    1: the winner's row is written here   2: the winning version is recorded here
--   winner     place of the source that has the row   receivers  bit per place: who gets it
--   {rulings} {columns} (key column AS c0, ...) {table}
CREATE TEMPORARY TABLE IF NOT EXISTS {rulings} ON COMMIT DELETE ROWS AS
SELECT {columns}, 0::smallint AS verdict, 0::smallint AS winner, 0::bigint AS receivers, 0::bigint AS micros,
       ''::text AS origin, ''::text AS conflict, ''::text AS note
FROM {table} WITH NO DATA
