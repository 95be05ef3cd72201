-- What custom codes may take.

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('customcode_timeout', '30', '30', 'How many seconds one call of a custom code may take'),
    ('customcode_memory_mb', '64', '64', 'How many megabytes a custom code may take')
ON CONFLICT DO NOTHING;
