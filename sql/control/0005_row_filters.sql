-- Row filters (customselect), for a table and for one of its targets; names of every kind in customname.

ALTER TABLE bucardo.goat ADD COLUMN IF NOT EXISTS customselect text NULL;

CREATE SEQUENCE IF NOT EXISTS bucardo.customselect_id_seq;
CREATE TABLE IF NOT EXISTS bucardo.customselect (
    id     integer     NOT NULL DEFAULT nextval('bucardo.customselect_id_seq'),
    goat   integer     NOT NULL,
    clause text        NULL,
    db     text        NULL,
    sync   text        NULL,
    cdate  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT customselect_id_pk PRIMARY KEY (id),
    CONSTRAINT customselect_goat_fk
        FOREIGN KEY (goat) REFERENCES bucardo.goat (id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT customselect_db_fk FOREIGN KEY (db) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT customselect_sync_fk
        FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE CASCADE
);
ALTER SEQUENCE bucardo.customselect_id_seq OWNED BY bucardo.customselect.id;

-- Names are quoted before they reach a statement, so that any name will do.
ALTER TABLE bucardo.customname DROP CONSTRAINT IF EXISTS customname_newname_sane;
ALTER TABLE bucardo.customname ADD CONSTRAINT customname_newname_sane CHECK (newname <> '');
