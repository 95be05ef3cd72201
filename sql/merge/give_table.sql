-- The keys whose rows others get, in a session that only reads.
--   {give} {columns} (key column AS c0, ...) {table}
CREATE TEMPORARY TABLE {give} ON COMMIT DROP AS
SELECT {columns}, 0::bigint AS receivers FROM {table} WITH NO DATA
