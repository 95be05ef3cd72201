-- When each row of the history was committed here, in microseconds since 1970.
SELECT h.id, (extract(epoch FROM pg_xact_commit_timestamp(h.xmin)) * 1000000)::bigint AS committed
FROM public.pgbench_history AS h
ORDER BY h.id
