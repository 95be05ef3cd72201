-- Notes all rows of a partition as changed, nobody knows when: a merge takes them to be older than any change that was
-- captured, and equal rows, which have the same serial, to be the same change.
--   {delta} {keys} {columns} {table}
INSERT INTO {delta} ({keys}, origin)
SELECT {columns}, '- - ' || ('x' || left(md5(t::text), 8))::bit(32)::bigint || ' +' FROM ONLY {table} AS t
