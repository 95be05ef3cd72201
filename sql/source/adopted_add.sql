-- Notes that the rows which a partition has had are to be told.
--   $1 int captured   $2 oid[] partitions
INSERT INTO bucardo.adopted (captured, partition) SELECT $1, p.oid FROM unnest($2::oid[]) AS p (oid)
ON CONFLICT DO NOTHING
