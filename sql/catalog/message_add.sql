-- Leaves a line for the daemon's log.
--   $1 text  the line
INSERT INTO bucardo.bucardo_log_message (msg) VALUES ($1::text)
