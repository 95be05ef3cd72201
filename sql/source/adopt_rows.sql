-- Notes all rows of a partition as changed.
--   {delta} {keys} {columns} {table}
INSERT INTO {delta} ({keys}) SELECT {columns} FROM ONLY {table}
