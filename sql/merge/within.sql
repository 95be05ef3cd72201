-- Only keys from the lowest to the highest that were ruled on.
--   {key} (of t)
{key} BETWEEN (current_setting('bucardo.low')::bigint) AND (current_setting('bucardo.high')::bigint)
