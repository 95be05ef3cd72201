-- All that the log of one table holds of the keys of which somebody has not read a change, when these are few. Walks the
-- indexes, however long the log is. Rows of one key follow each other.
--   {order} {order_by} {keys} (of d) {delta} {readable} {unread_keys} (of the delta table) {same} {limit} {micros}
COPY (
    SELECT {order}, {keys}, d.txid, {micros}, d.origin
    FROM (SELECT DISTINCT {unread_keys}
          FROM (SELECT d.* FROM {delta} AS d
                WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
                  AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
                  AND {readable}
                LIMIT {limit}) AS f) AS u
    CROSS JOIN LATERAL (SELECT d.* FROM {delta} AS d WHERE {same} AND {readable} OFFSET 0) AS d
    ORDER BY {order_by}
) TO STDOUT
