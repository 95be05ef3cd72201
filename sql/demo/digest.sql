-- Contents of one table, whatever the order of its rows: how many, and the sums of both halves of their digests.
--   {table}   the table
SELECT count(*) AS rows,
       concat_ws(':', sum(('x' || left(r.digest, 16))::bit(64)::bigint::numeric),
                      sum(('x' || right(r.digest, 16))::bit(64)::bigint::numeric)) AS digest
FROM (SELECT md5(t::text) AS digest FROM {table} AS t) AS r
