-- Hands changed keys on: each once for each origin, with the time of its newest change.
--   {delta} {keys} {values} {changes} (alias k) {join}
INSERT INTO {delta} ({keys}, txntime, origin)
SELECT {values}, max(k.txntime), k.origin
FROM {changes} {join}
GROUP BY {values}, k.origin
