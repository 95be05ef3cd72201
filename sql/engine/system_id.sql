-- Which cluster this is.
SELECT system_identifier AS system_id FROM pg_control_system()
