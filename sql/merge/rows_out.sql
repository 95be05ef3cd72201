-- The rows of this source that won, each with its receivers.
--   {columns} {table} {rulings} {on} {place}
COPY (SELECT k.receivers, {columns} FROM {rulings} AS k JOIN {table} AS t ON {on}
      WHERE k.winner = {place} AND k.receivers <> 0) TO STDOUT
