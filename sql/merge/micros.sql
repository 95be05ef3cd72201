round(date_part('epoch', d.txntime) * 1000000)::bigint
