-- Notes that a sync is copied anew; returns the number.
--   $1 text sync   $2 text options as given
INSERT INTO bucardo.clone (sync, options, status, started) VALUES ($1, nullif($2, ''), 'started', now()) RETURNING id
