-- The keys that were named in this transaction.
--   {keys} (of j.key, a list)
SELECT {keys} FROM jsonb_array_elements(current_setting('bucardo.keys')::jsonb) AS j (key)
