-- Keeps nothing more for a reader that lags too far behind: what it has not read may be purged from now on. It needs a
-- copy then; round -2: once a person asks for one, -3: as soon as it is back.
--   $1 text sync   $2 text target   $3 bigint round
WITH let_go AS (
    DELETE FROM bucardo.quarantined AS q
    WHERE q.sync = $1 AND q.target = $2
      AND EXISTS (SELECT FROM bucardo.track AS t WHERE t.sync = $1 AND t.target = $2 AND t.round >= 0)
)
UPDATE bucardo.track SET round = $3 WHERE sync = $1 AND target = $2 AND round >= 0
