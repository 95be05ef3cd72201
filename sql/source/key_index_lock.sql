-- One session at a time makes or drops indexes on keys. Tried, not waited for: whoever waits is waited for by an index
-- that is made while others write.
SELECT pg_try_advisory_lock(hashtext('bucardo key indexes')) AS locked
