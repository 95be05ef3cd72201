-- How things are at present.
SELECT s.kind, s.sync, s.source, s.db, s.id, s.state, s.since, s.why, s.hint, s.next_try, s.doing, s.relation, s.connections
FROM bucardo.state AS s
ORDER BY s.kind, s.sync, s.source, s.db, s.relation
