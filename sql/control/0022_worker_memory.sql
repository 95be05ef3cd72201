-- How much memory rounds may take.

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('worker_mb_max', '0', '0', 'How many megabytes the rounds of all kids may take together; who needs more waits; 0: no limit')
ON CONFLICT DO NOTHING;
