-- One branch for each delta table of a sync: what each target has not read.
--   {delta} {readable}   $1 text sync
SELECT t.target, count(*) AS changes, min(d.txntime) AS oldest
FROM bucardo.track AS t
JOIN {delta} AS d ON d.txid >= txid_snapshot_xmin(t.snapshot::txid_snapshot)
                 AND NOT txid_visible_in_snapshot(d.txid, t.snapshot::txid_snapshot)
WHERE t.sync = $1 AND {readable}
GROUP BY t.target
