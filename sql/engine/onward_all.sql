-- Hands all rows of a table on.
--   {delta} {keys} {columns} {table}   $1 text origin
INSERT INTO {delta} ({keys}, origin) SELECT {columns}, $1::text FROM {table}
