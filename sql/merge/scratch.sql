-- Where the logs of several sources meet, for keys whose equality only the server knows.
--   {scratch} {columns} (key column AS c0, ...) {table}
CREATE TEMPORARY TABLE IF NOT EXISTS {scratch} ON COMMIT DELETE ROWS AS
SELECT 0::smallint AS place, {columns}, 0::bigint AS txid, 0::bigint AS micros, ''::text AS origin
FROM {table} WITH NO DATA
