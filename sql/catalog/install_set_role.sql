-- Everything that is made from here on belongs to the owner of the catalog.
--   {owner}  the role
SET ROLE {owner}
