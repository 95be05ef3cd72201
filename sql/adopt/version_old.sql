-- The version of a catalog of version 3 or 4.
SELECT value AS version FROM bucardo.bucardo_config WHERE lower(setting) = 'bucardo_version'
