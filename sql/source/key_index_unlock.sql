-- Lets the next session make or drop indexes on keys.
SELECT pg_advisory_unlock(hashtext('bucardo key indexes'))
