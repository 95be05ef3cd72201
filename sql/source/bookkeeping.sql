-- What a source database keeps for itself, in schema bucardo. Safe to run again.
CREATE SCHEMA IF NOT EXISTS bucardo;

-- Tables whose changes are captured. "id" names the functions; "deltaname" the delta table.
CREATE TABLE IF NOT EXISTS bucardo.captured (
    id          serial      PRIMARY KEY,
    relation    oid         NOT NULL UNIQUE,
    schemaname  text        NOT NULL,
    tablename   text        NOT NULL,
    deltaname   text        NOT NULL UNIQUE,
    key_columns text[]      NOT NULL,
    cdate       timestamptz NOT NULL DEFAULT now()
);

-- Which syncs want to hear of which captured table, and whether a change kicks them.
CREATE TABLE IF NOT EXISTS bucardo.captured_sync (
    captured int     NOT NULL REFERENCES bucardo.captured (id) ON DELETE CASCADE,
    sync     text    NOT NULL,
    kick     boolean NOT NULL,
    PRIMARY KEY (captured, sync)
);

-- TRUNCATE statements, a row each; read like delta rows, and with an origin like these: NULL, made here; else the
-- sync, database and serial of the change that was brought here.
CREATE TABLE IF NOT EXISTS bucardo.truncated (
    captured int         NOT NULL REFERENCES bucardo.captured (id) ON DELETE CASCADE,
    txntime  timestamptz NOT NULL DEFAULT now(),
    txid     bigint      NOT NULL DEFAULT txid_current(),
    origin   text
);
-- Of an installation from before there was one.
ALTER TABLE bucardo.truncated ADD COLUMN IF NOT EXISTS origin text;
CREATE INDEX IF NOT EXISTS truncated_txid ON bucardo.truncated (txid);
ALTER TABLE bucardo.truncated REPLICA IDENTITY FULL;

-- The tracks: how far each target has read this source, as far as the source knows. The truth is the
-- target's own bucardo.position; this copy serves purging, status and the check that neither side went back in time.
CREATE TABLE IF NOT EXISTS bucardo.track (
    sync     text        NOT NULL,
    target   text        NOT NULL,
    source   text        NOT NULL,
    snapshot text        NOT NULL,
    round    bigint      NOT NULL DEFAULT 0,
    deletes  bigint      NOT NULL DEFAULT 0,
    inserts  bigint      NOT NULL DEFAULT 0,
    updated  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, target)
) WITH (fillfactor = 50);

-- Tables that a target has put aside, and from where on it will want their changes: these are kept, however far its
-- track goes, until it takes the table up again.
CREATE TABLE IF NOT EXISTS bucardo.quarantined (
    sync     text NOT NULL,
    target   text NOT NULL,
    captured int  NOT NULL REFERENCES bucardo.captured (id) ON DELETE CASCADE,
    snapshot text NOT NULL,
    PRIMARY KEY (sync, target, captured),
    FOREIGN KEY (sync, target) REFERENCES bucardo.track (sync, target) ON DELETE CASCADE
);

-- Partitions that came later: captured now, but the rows that they had before have to be noted as changed yet.
CREATE TABLE IF NOT EXISTS bucardo.adopted (
    captured  int NOT NULL REFERENCES bucardo.captured (id) ON DELETE CASCADE,
    partition oid NOT NULL,
    PRIMARY KEY (captured, partition)
);

-- Conflicts that merges decided, until they are moved to the control database: written in the transaction that brings
-- the decision here, so that each is told once. One row for each database with a version of the row, and a first one
-- whose db is empty. Its first name is that of a table of the catalog, which may be in the same database. The newest
-- table of all: where it exists, the rest does too.
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = to_regclass('bucardo.conflict') AND a.attname = 'body') THEN
        ALTER TABLE bucardo.conflict RENAME TO conflict_kept;
        ALTER INDEX bucardo.conflict_pkey RENAME TO conflict_kept_pkey;
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS bucardo.conflict_kept (
    id   text NOT NULL,
    db   text NOT NULL,
    sync text NOT NULL,
    body json NOT NULL,
    PRIMARY KEY (id, db)
)
