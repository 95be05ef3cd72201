-- The definition of a table, whose lock is held from here on, as is that of its delta table; and whether one of them got
-- another file after the snapshot was taken.
--   {signature} {table} {delta} {moved}
SELECT {signature} AS signature, {moved} AS moved,
       (SELECT count(*) FROM (SELECT FROM {table} LIMIT 0) AS lock) AS lock,
       (SELECT count(*) FROM (SELECT FROM {delta} LIMIT 0) AS lock) AS delta_lock
