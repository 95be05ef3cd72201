-- Which database this is: two entries of the catalog may reach the same one.
SELECT concat_ws(' ', system_identifier, pg_postmaster_start_time(), current_database()) AS place FROM pg_control_system()
