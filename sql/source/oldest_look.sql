-- The oldest of them all, and the snapshot of this look.
--   {branches}
SELECT txid_current_snapshot()::text AS seen, min(b.oldest) AS oldest FROM ({branches}) AS b
