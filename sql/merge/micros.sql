round(extract(epoch FROM d.txntime) * 1000000)::bigint
