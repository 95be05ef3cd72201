-- The history of conflicts, and how many there were: totals stay when old conflicts are pruned. Neither refers to the
-- sync, so that what was lost in a conflict can be looked up after its sync is gone.

CREATE TABLE IF NOT EXISTS bucardo.conflict (
    id         text        NOT NULL,
    sync       text        NOT NULL,
    schemaname text        NOT NULL,
    tablename  text        NOT NULL,
    key        jsonb       NOT NULL,
    strategy   text        NOT NULL,
    winner     text        NOT NULL,
    versions   jsonb       NOT NULL,
    rows       jsonb       NOT NULL,
    time       timestamptz NOT NULL,
    cdate      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT conflict_pk PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS conflict_time ON bucardo.conflict (time);
CREATE INDEX IF NOT EXISTS conflict_sync_time ON bucardo.conflict (sync, time);
CREATE INDEX IF NOT EXISTS conflict_cdate ON bucardo.conflict (cdate);

CREATE TABLE IF NOT EXISTS bucardo.conflict_total (
    sync       text        NOT NULL,
    schemaname text        NOT NULL,
    tablename  text        NOT NULL,
    conflicts  bigint      NOT NULL DEFAULT 0,
    last       timestamptz NOT NULL,
    CONSTRAINT conflict_total_pk PRIMARY KEY (sync, schemaname, tablename)
);

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('log_conflict_details', '0', '0', 'Write the rows of each conflict to log_conflict_file'),
    ('conflict_keep', '2592000', '2592000', 'How many seconds a decided conflict can be listed; 0: they are only counted')
ON CONFLICT DO NOTHING;
