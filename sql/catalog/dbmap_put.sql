-- Makes a database a member of a group, or changes its part there.
--   $1 text      the database
--   $2 text      the group
--   $3 text      its role
--   $4 smallint  its priority; NULL: as it is
--   $5 boolean   whether other syncs shall see what comes there; NULL: as it is
INSERT INTO bucardo.dbmap (db, dbgroup, role, priority, makedelta)
VALUES ($1::text, $2::text, $3::text, coalesce($4::smallint, 0), $5::boolean)
ON CONFLICT (db, dbgroup) DO UPDATE
SET role = excluded.role, priority = coalesce($4::smallint, dbmap.priority),
    makedelta = coalesce($5::boolean, dbmap.makedelta)
