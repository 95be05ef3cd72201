-- A piece is there; committed with its rows.
--   $1 text sync   $2 text source   $3 int goat   $4 int chunk   $5 int attempt   $6 bigint rows   $7 bigint bytes
UPDATE bucardo.copy_chunk
SET state = 'done', attempt = $5, rows = $6, bytes = $7, began = now(), ended = clock_timestamp()
WHERE sync = $1 AND source = $2 AND goat = $3 AND chunk = $4 AND state <> 'done'
