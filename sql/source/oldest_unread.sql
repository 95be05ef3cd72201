-- One branch for each delta table of a sync: the time of the oldest change that a reader has not read, among those that
-- were not there when it was looked last.
--   {delta} {wanted} (a further condition)   $1 text the reader's position   $2 text the snapshot of the last look   $3 text sync
SELECT min(d.txntime) AS oldest
FROM {delta} AS d
WHERE d.txid >= greatest(txid_snapshot_xmin($1::text::txid_snapshot), txid_snapshot_xmin($2::text::txid_snapshot))
  AND NOT txid_visible_in_snapshot(d.txid, $1::text::txid_snapshot)
  AND NOT txid_visible_in_snapshot(d.txid, $2::text::txid_snapshot)
  AND {wanted}
