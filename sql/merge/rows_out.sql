-- The rows of this source that won, each with its receivers.
--   {columns} {table} {give} {on}
COPY (SELECT k.receivers, {columns} FROM {give} AS k JOIN {table} AS t ON {on}) TO STDOUT
