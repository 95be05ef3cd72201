-- One branch for each delta table: how many rows it has.
--   {delta} {captured}
SELECT {captured} AS captured, count(*) AS rows FROM {delta}
