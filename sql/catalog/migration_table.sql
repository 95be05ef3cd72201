-- Which migrations were applied.
CREATE TABLE bucardo.migration (
    level   integer     NOT NULL,
    name    text        NOT NULL,
    applied timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT migration_pk PRIMARY KEY (level)
)
