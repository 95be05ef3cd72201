-- One branch for each sequence: its place and state, and which way it goes.
--   {place} {sequence} {literal}
SELECT {place}::int AS place, last_value, is_called,
       (SELECT q.seqincrement FROM pg_catalog.pg_sequence AS q WHERE q.seqrelid = {literal}::regclass) AS step
FROM {sequence}
