-- Whether a delta row is news for a database of a sync: a change made here; one that the sync itself recorded; or one
-- that another sync brought and shows to others, unless it has been to that database before.
--   {origin} {sync} {db}
({origin} IS NULL OR split_part({origin}, ' ', 1) = {sync}
 OR right({origin}, 2) = ' +' AND {db} <> ALL (string_to_array(split_part({origin}, ' ', 2), ',')))
