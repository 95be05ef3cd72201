-- Leaves a line for the daemon's log; a trigger tells the daemon.
--   $1 text  the line
INSERT INTO bucardo.bucardo_log_message (msg) VALUES ($1::text)
