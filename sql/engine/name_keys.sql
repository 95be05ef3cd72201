-- Names keys for the rest of the transaction.
--   $1 text list of keys, each a list of texts, as JSON
SELECT set_config('bucardo.keys', $1, true)
