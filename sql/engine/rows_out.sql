-- The present rows of the changed keys.
--   {columns} {table} {changed} {on}
COPY (SELECT {columns} FROM {table} AS t JOIN ({changed}) AS k ON {on}) TO STDOUT
