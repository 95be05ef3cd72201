-- A password for a role that we made. The server, and so its log, gets only the verifier.
--   {role}      the role
--   {verifier}  SCRAM-SHA-256 verifier
ALTER ROLE {role} PASSWORD {verifier}
