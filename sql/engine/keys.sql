-- The changed keys of one table as arrays of text, if they are few; else only that they are many. Holds the table's
-- lock from here on, and tells whether its columns or its file became others.
--   {delta} {keys} {arrays} {table} {signature} {moved} {readable}   $1 bigint how many are few, plus one
SELECT count(*) AS changes, min(d.txntime) AS oldest, {signature} AS signature, {moved} AS moved,
       (SELECT count(*) FROM (SELECT FROM {table} LIMIT 0) AS lock) AS lock, {arrays}
FROM (SELECT {keys}, txntime
      FROM {delta}
      WHERE txid >= current_setting('bucardo.since_xmin')::bigint
        AND NOT txid_visible_in_snapshot(txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
        AND txid_visible_in_snapshot(txid, (SELECT current_setting('bucardo.upto')::txid_snapshot))
        AND {readable}
      LIMIT $1) AS d
