-- The role that owns the catalog and replicates: a superuser, as it has to write everywhere and fire no triggers.
--   {role}  its name
CREATE ROLE {role} LOGIN SUPERUSER
