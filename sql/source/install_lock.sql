-- One installation at a time in a database; held to the end of the transaction.
SELECT pg_advisory_xact_lock(hashtext('bucardo bookkeeping'))
