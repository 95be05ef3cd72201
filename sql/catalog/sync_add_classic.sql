-- Adds a sync in the words of versions 3 and 4: the catalog makes its group of databases.
--   $1 text  its name
--   $2 text  its source, a relgroup
--   $3 text  its target, a database; NULL: a group
--   $4 text  its target, a group of databases; NULL: a database
--   $5 text  pushdelta, fullcopy or swap
INSERT INTO bucardo.sync (name, source, targetdb, targetgroup, synctype)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::text)
RETURNING dbs
