-- Two syncs of one herd in a version 4 catalog.
INSERT INTO bucardo.bucardo_config (setting, value, defval) VALUES ('bucardo_version', '4.5.0', '4.5.0'),
    ('vac_sleep', '99', '120'), ('log_conflict_details', '0', '0');
INSERT INTO bucardo.goat (db, schemaname, tablename, pkey, qpkey, pkeytype, standard_conflict) VALUES
    ('A', 'public', 'orders', 'id', 'id', 'integer', 'source'),
    ('A', 'public', 'Odd.name', 'Key 1|k2', '"Key 1"|k2', 'bytea|text', NULL);
INSERT INTO bucardo.herd (name) VALUES ('ours');
INSERT INTO bucardo.herdmap (herd, goat) SELECT 'ours', id FROM bucardo.goat;
INSERT INTO bucardo.dbgroup (name) VALUES ('far');
INSERT INTO bucardo.dbmap (db, dbgroup) VALUES ('C', 'far');
INSERT INTO bucardo.sync (name, source, targetdb, synctype) VALUES ('to_b', 'ours', 'B', 'pushdelta');
INSERT INTO bucardo.sync (name, source, targetgroup, synctype, status) VALUES ('to_c', 'ours', 'far', 'pushdelta', 'stalled');
INSERT INTO bucardo.customcode (name, whenrun, src_code) VALUES ('mine', 'before_trigger_drop', '1');
