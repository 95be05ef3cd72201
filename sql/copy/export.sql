-- Hands the transaction's snapshot to other sessions, for as long as the transaction lasts.
SELECT pg_export_snapshot() AS snapshot
