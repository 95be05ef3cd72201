-- A table as a target shall have it: other columns, some of the rows. Both texts are the operator's, each on lines of
-- its own, so that a comment at their end hides nothing.
--   {list} {table} {filter}
({list}
FROM {table}
WHERE (
{filter}
))
