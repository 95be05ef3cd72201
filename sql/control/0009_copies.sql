-- How initial copies are made.

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('copy_workers', '4', '4', 'How many tables, or pieces of large ones, an initial copy writes to a target at once'),
    ('copy_chunk_mb', '128', '128', 'Large tables are copied initially in pieces of about this size, in megabytes'),
    ('copy_atomic_mb', '64', '64', 'Initial copies of less than this are made in one transaction, in megabytes')
ON CONFLICT DO NOTHING;
