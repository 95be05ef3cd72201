-- What all custom codes of one run may take together.

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('customcode_run_timeout', '300', '300', 'How many seconds all custom codes of one run may take together')
ON CONFLICT DO NOTHING;
