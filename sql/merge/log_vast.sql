-- All that the log of one table holds of the keys of which somebody has not read a change, when much else is
-- in it; without what is too old to count.
--   {order} {order_by} {keys} (of d) {delta} {readable} {same} {micros}
COPY (
    SELECT {order}, {keys}, d.txid, {micros}, d.origin
    FROM {delta} AS d
    WHERE (d.txntime >= (SELECT current_setting('bucardo.floor')::timestamptz)
           OR d.txid >= (SELECT current_setting('bucardo.since_xmin')::bigint))
      AND {readable}
      AND EXISTS (SELECT FROM (
              SELECT d.* FROM {delta} AS d
              WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
                AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
                AND {readable}) AS u WHERE {same})
    ORDER BY {order_by}
) TO STDOUT
