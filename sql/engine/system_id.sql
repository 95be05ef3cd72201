-- Which cluster this is, and on which timeline: that is another one after a promotion or a restore.
SELECT system_identifier AS system_id,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint AS timeline
FROM pg_control_system()
