-- The logs of several sources, in one order.
--   {order} {keys} (of d) {scratch}
COPY (SELECT {order}, d.place, {keys}, d.txid, d.micros, d.origin FROM {scratch} AS d ORDER BY 1) TO STDOUT
