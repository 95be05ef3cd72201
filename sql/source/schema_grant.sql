-- What lets this role use what another one has installed here; no row where nothing is installed, or it may do so.
SELECT format('GRANT %s TO %s', n.nspowner::regrole, quote_ident(current_user)) AS statement
FROM pg_namespace AS n
WHERE n.nspname = 'bucardo' AND NOT pg_has_role(n.nspowner, 'USAGE')
