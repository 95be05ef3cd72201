-- Rows that this sync reads: changes of the database itself, its own merges' and those of others that are meant for it.
--   {sync}
(d.origin IS NULL OR split_part(d.origin, ' ', 1) = {sync} OR right(d.origin, 2) = ' +')
