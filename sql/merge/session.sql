-- Settings of a session that merges: as for one that reads a source, and logs are sorted in memory.
SET enable_seqscan = off;
SET work_mem = '64MB';
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit'
