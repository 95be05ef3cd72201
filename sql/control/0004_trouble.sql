-- Pairs of a sync that do not replicate at present, one row each: why, since when, and when they are tried again.

CREATE TABLE IF NOT EXISTS bucardo.trouble (
    sync     text        NOT NULL,
    source   text        NOT NULL,
    target   text        NOT NULL,
    since    timestamptz NOT NULL,
    failures bigint      NOT NULL DEFAULT 1,
    last     timestamptz NOT NULL,
    next_try timestamptz NULL,
    why      text        NOT NULL,
    hint     text        NULL,
    CONSTRAINT trouble_pk PRIMARY KEY (sync, source, target),
    CONSTRAINT trouble_sync_fk FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE CASCADE
);
