-- The whole log of one table. Rows of one key follow each other.
--   {order} {order_by} {keys} (of d) {delta} {readable} {micros}
COPY (
    SELECT {order}, {keys}, d.txid, {micros}, d.origin
    FROM {delta} AS d
    WHERE {readable}
    ORDER BY {order_by}
) TO STDOUT
