-- What this merge does with the keys of one table on this source. Kept from merge to merge, empty between
-- them, and made anew when the table's definition may be another.
--   {take}   keys whose row here makes room for the winner's, or for nothing
--   {give}   keys whose row others get from here; "receivers" has a bit for each
--   {clash}  conflicts
--   {columns} (key column AS c0, ...) {table}
DROP TABLE IF EXISTS {take}, {give}, {clash};
CREATE TEMPORARY TABLE {take} ON COMMIT DELETE ROWS AS
SELECT {columns} FROM {table} WITH NO DATA;
CREATE TEMPORARY TABLE {give} ON COMMIT DELETE ROWS AS
SELECT {columns}, 0::bigint AS receivers FROM {table} WITH NO DATA;
CREATE TEMPORARY TABLE {clash} ON COMMIT DELETE ROWS AS
SELECT {columns}, ''::text AS conflict, ''::text AS note FROM {table} WITH NO DATA
