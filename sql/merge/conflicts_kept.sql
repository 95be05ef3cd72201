-- Conflicts that wait to be moved to the control database: all that there are now, read once, however many pieces they are
-- moved in.
--   {sync} a literal
DECLARE bucardo_kept NO SCROLL CURSOR WITH HOLD FOR
SELECT id, body::text AS body FROM bucardo.conflict_kept WHERE sync = {sync}
