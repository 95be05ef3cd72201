-- Notes which sessions a run has open; those that it has no more go. The arrays together are the sessions.
--   $1 text           the sync
--   $2 text[]         databases, $3 integer[] their backends, $4 timestamptz[] since when
--   $5 text[]         databases, $6 integer[] backends of sessions that were noted before
WITH gone AS (
    DELETE FROM bucardo.dbrun AS d
    USING unnest($5::text[], $6::integer[]) AS g (db, pid)
    WHERE (d.sync, d.dbname, d.pgpid) = ($1::text, g.db, g.pid)
)
INSERT INTO bucardo.dbrun (sync, dbname, pgpid, started)
SELECT $1::text, n.db, n.pid, n.since FROM unnest($2::text[], $3::integer[], $4::timestamptz[]) AS n (db, pid, since)
