-- Where what another Bucardo made is kept, so that there is a way back. Safe to run again.
CREATE SCHEMA IF NOT EXISTS bucardo_perl;

-- Tables whose changes were captured by it, and where it kept these.
CREATE TABLE IF NOT EXISTS bucardo_perl.taken (
    relation   oid         NOT NULL PRIMARY KEY,
    schemaname text        NOT NULL,
    tablename  text        NOT NULL,
    deltaname  text        NULL,
    trackname  text        NULL,
    cdate      timestamptz NOT NULL DEFAULT now()
);

-- Its triggers, as statements that make them again.
CREATE TABLE IF NOT EXISTS bucardo_perl.taken_trigger (
    relation   oid    NOT NULL REFERENCES bucardo_perl.taken (relation) ON DELETE CASCADE,
    name       text   NOT NULL,
    definition text   NOT NULL,
    enabled    "char" NOT NULL,
    PRIMARY KEY (relation, name)
);

-- The syncs whose undelivered changes were carried over, by the group of databases that it knew them by.
CREATE TABLE IF NOT EXISTS bucardo_perl.taken_sync (
    sync    text NOT NULL PRIMARY KEY,
    dbgroup text NOT NULL
)
