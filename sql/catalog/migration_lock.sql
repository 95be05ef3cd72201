-- One migration of a control database at a time; held until the transaction ends.
SELECT pg_advisory_xact_lock(hashtext('bucardo migration'))
