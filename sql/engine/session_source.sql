-- Settings of a session that reads a source: changed keys are few, so indexes are right; a bulk round says otherwise.
SET enable_seqscan = off;
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit'
