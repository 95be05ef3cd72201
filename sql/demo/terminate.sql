-- Ends a session as a broken network would: from the other side, without asking.
--   $1 int   its server process
SELECT pg_terminate_backend($1) AS terminated
