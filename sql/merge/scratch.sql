-- Where the logs of several sources meet, for keys whose equality only the server knows. Not made from the table: the merge
-- may hold that for itself.
--   {scratch} {columns} (c0 and its type, ...)
CREATE TEMPORARY TABLE IF NOT EXISTS {scratch} (place smallint, {columns}, txid bigint, micros bigint, origin text)
ON COMMIT DELETE ROWS
