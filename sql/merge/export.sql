-- The snapshot of this transaction, for another session.
SELECT pg_export_snapshot() AS snapshot
