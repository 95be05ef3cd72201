-- State of one sequence.
--   {sequence}   the sequence
SELECT concat_ws(':', s.last_value, s.is_called) AS digest
FROM {sequence} AS s
