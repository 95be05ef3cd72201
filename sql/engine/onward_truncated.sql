-- Hands a truncate on.
--   $1 int captured table   $2 timestamptz when   $3 text origin
INSERT INTO bucardo.truncated (captured, txntime, origin) VALUES ($1, coalesce($2::timestamptz, now()), $3)
