-- What a session that only reads has to know: keys whose rows others get, and conflicts.
--   {give} {clash} {columns} (key column AS c0, ...) {table}
CREATE TEMPORARY TABLE {give} ON COMMIT DROP AS
SELECT {columns}, 0::bigint AS receivers FROM {table} WITH NO DATA;
CREATE TEMPORARY TABLE {clash} ON COMMIT DROP AS
SELECT {columns}, ''::text AS conflict, ''::text AS note FROM {table} WITH NO DATA
