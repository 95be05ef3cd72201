-- The control database.
--   {database}  its name
--   {owner}     its owner
CREATE DATABASE {database} OWNER {owner}
