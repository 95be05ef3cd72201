-- Where to cut a table into pieces of about the same size, by a sample of its pages; and how far the order of the
-- column is the order of the pages: 1 or -1, so that a piece is read from few of them, to 0.
--   {value} {table} {percent} of the pages   $1 int pieces
SELECT DISTINCT ON (s.piece) s.value::text AS bound, s.correlation
FROM (SELECT r.value, r.place, ntile($1) OVER (ORDER BY r.place) AS piece,
             coalesce(corr(r.place, r.spot) OVER (), 0) AS correlation
      FROM (SELECT {value} AS value,
                   row_number() OVER (ORDER BY {value}) AS place,
                   row_number() OVER (ORDER BY t.tableoid, t.ctid) AS spot
            FROM {table} AS t TABLESAMPLE SYSTEM ({percent})) AS r) AS s
ORDER BY s.piece, s.place
