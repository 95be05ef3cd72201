-- How long delivered changes stay on the sources.

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('vac_keep', '45', '45', 'How many seconds a change stays on its source after everybody has read it')
ON CONFLICT DO NOTHING;
