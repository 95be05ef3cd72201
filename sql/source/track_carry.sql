-- A reader's position as it says itself, of the same round: what it follows told it how far it is here.
--   $1 text sync   $2 text reader   $3 text snapshot   $4 bigint round
UPDATE bucardo.track SET snapshot = $3 WHERE sync = $1 AND target = $2 AND round = $4 AND snapshot <> $3
