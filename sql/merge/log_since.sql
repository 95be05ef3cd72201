-- The log of one table from some transaction on, without what is too old to count: what comes before that is older still.
-- Rows of one key follow each other.
--   {order} {order_by} {keys} (of d) {delta} {readable} {micros}
COPY (
    SELECT {order}, {keys}, d.txid, {micros}, d.origin
    FROM {delta} AS d
    WHERE d.txid >= (SELECT current_setting('bucardo.first_txid')::bigint)
      AND (d.txntime >= (SELECT current_setting('bucardo.floor')::timestamptz)
           OR NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot)))
      AND {readable}
    ORDER BY {order_by}
) TO STDOUT
