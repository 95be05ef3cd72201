-- Wakes the syncs that read what is handed on, when this commits, if anybody listens.
--   $1 text[] gates   $2 text[] payloads, side by side
SELECT pg_notify('bucardo', w.payload)
FROM unnest($1::text[], $2::text[]) AS w (gate, payload)
WHERE pg_sequence_last_value(to_regclass(w.gate)) = 1
