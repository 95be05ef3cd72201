-- Takes the lease on this control database, if it is free. It ends with the session.
--   $1 bigint  the number that stands for the lease
SELECT pg_catalog.pg_try_advisory_lock($1::bigint) AS taken
