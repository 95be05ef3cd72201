-- The schema of the catalog, for a role that could not make it itself.
--   {owner}  the role
CREATE SCHEMA bucardo AUTHORIZATION {owner}
