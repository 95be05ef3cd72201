-- The schema of the catalog.
CREATE SCHEMA bucardo
