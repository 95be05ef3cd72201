-- The log of one table without what is too old to count. Rows of one key follow each other.
--   {order} {order_by} {keys} (of d) {delta} {readable} {micros}
COPY (
    SELECT {order}, {keys}, d.txid, {micros}, d.origin
    FROM {delta} AS d
    WHERE (d.txntime >= (SELECT current_setting('bucardo.floor')::timestamptz)
           OR d.txid >= (SELECT current_setting('bucardo.since_xmin')::bigint))
      AND {readable}
    ORDER BY {order_by}
) TO STDOUT
