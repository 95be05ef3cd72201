-- Sessions of a daemon in this database, by the names that it gives them.
SELECT pid, application_name
FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^bucardo (MCP|VAC|CTL|KID) ?\('
ORDER BY pid
