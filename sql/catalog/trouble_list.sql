-- Pairs that do not replicate at present.
SELECT t.sync, t.source, t.target, t.since, t.failures, t.next_try, t.why, t.hint
FROM bucardo.trouble AS t
ORDER BY t.sync, t.source, t.target
