-- The log of one table and every key that is in the table, for a merge of a truncation, which is a change of all keys.
-- A key that is only in the table has no transaction.
--   {order} {order_by} {keys} (of d) {delta_keys} {delta} {table_keys} {table} {readable} {micros}
COPY (
    SELECT {order}, {keys}, d.txid, {micros}, d.origin
    FROM (SELECT {delta_keys}, d.txid, d.txntime, d.origin FROM {delta} AS d WHERE {readable}
          UNION ALL
          SELECT {table_keys}, NULL, NULL, NULL FROM {table} AS t) AS d
    ORDER BY {order_by}
) TO STDOUT
