-- Brings equal keys together by the equality of their types: 1.0 and 1.00 are one number.
--   {keys} (of d)
dense_rank() OVER (ORDER BY {keys})
