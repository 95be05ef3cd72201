-- Begins the pieces of a table, numbered from 1.
--   $1 text sync   $2 text source   $3 int goat   $4 text[] low   $5 text[] high
INSERT INTO bucardo.copy_chunk (sync, source, goat, chunk, low, high)
SELECT $1, $2, $3, w.chunk, w.low, w.high
FROM unnest($4::text[], $5::text[]) WITH ORDINALITY AS w (low, high, chunk)
