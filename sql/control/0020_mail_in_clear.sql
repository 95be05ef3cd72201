-- Whether a password may cross the network in clear.

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('email_auth_plain', '0', '0', 'Whether the password for the mail server may cross the network without TLS: 0 or 1')
ON CONFLICT DO NOTHING;
