-- These are in the control database now.
--   $1 text sync   $2 text[] ids
DELETE FROM bucardo.conflict_kept WHERE sync = $1 AND id = ANY ($2)
