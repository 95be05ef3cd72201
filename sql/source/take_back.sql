-- Keeps changes again for a reader that was given up, from now on; its copy, which comes next, is of a later snapshot.
--   $1 text sync   $2 text target
UPDATE bucardo.track SET round = -4, snapshot = txid_current_snapshot()::text
WHERE sync = $1 AND target = $2 AND round IN (-2, -3)
