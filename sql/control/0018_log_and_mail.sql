-- Settings of the log and of mail that Bucardo 5 did not have.

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('log_format', 'text', 'text', 'How the lines of log files look: text or json'),
    ('email_tls', 'none', 'none', 'How the connection to the mail server is protected: none, starttls or tls'),
    ('email_hour_max', '10', '10', 'How many mails are sent in an hour at most; 0: no limit'),
    ('email_patience', '300', '300', 'How many seconds something may fail and be tried again before a mail tells of it')
ON CONFLICT DO NOTHING;
