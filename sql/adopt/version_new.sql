-- The version of a catalog of version 5.
SELECT setting AS version FROM bucardo.bucardo_config WHERE lower(name) = 'bucardo_version'
