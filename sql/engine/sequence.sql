-- One branch for each sequence: its place and state.
--   {place} {sequence}
SELECT {place}::int AS place, last_value, is_called FROM {sequence}
