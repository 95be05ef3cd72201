-- For the rest of the transaction: nothing is read that is older than this, or was written before that.
--   {floor} a time, {from} a transaction, as literals
SET LOCAL bucardo.floor = {floor};
SET LOCAL bucardo.first_txid = {from}
