-- Captured tables of a source, by name.
SELECT id, relation, schemaname, tablename, deltaname FROM bucardo.captured
