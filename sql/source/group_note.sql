-- Notes the group of databases of a sync.
--   $1 text sync   $2 text dbgroup
INSERT INTO bucardo.sync_group AS g (sync, dbgroup) VALUES ($1, $2)
ON CONFLICT (sync) DO UPDATE SET dbgroup = excluded.dbgroup WHERE g.dbgroup <> excluded.dbgroup
