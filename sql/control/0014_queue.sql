-- How many changes a source may keep for a target that does not read them, and what is done about more; of a database,
-- NULL: as the settings say.

ALTER TABLE bucardo.db ADD COLUMN IF NOT EXISTS queue_rows_max bigint NULL;
ALTER TABLE bucardo.db ADD COLUMN IF NOT EXISTS queue_mb_max bigint NULL;
ALTER TABLE bucardo.db ADD COLUMN IF NOT EXISTS queue_age_max interval NULL;
ALTER TABLE bucardo.db ADD COLUMN IF NOT EXISTS queue_policy text NULL;
ALTER TABLE bucardo.db DROP CONSTRAINT IF EXISTS db_queue_valid;
ALTER TABLE bucardo.db ADD CONSTRAINT db_queue_valid CHECK (
    queue_policy IN ('', 'warn', 'stall', 'copy') AND queue_rows_max >= 0 AND queue_mb_max >= 0
);

-- Queues that are over their budget, or were until their reader was given up.
CREATE TABLE IF NOT EXISTS bucardo.over_budget (
    db      text        NOT NULL,
    sync    text        NOT NULL,
    target  text        NOT NULL,
    since   timestamptz NOT NULL DEFAULT now(),
    last    timestamptz NOT NULL DEFAULT now(),
    changes bigint      NOT NULL,
    bytes   bigint      NOT NULL,
    oldest  timestamptz NOT NULL,
    why     text        NOT NULL,
    done    text        NULL,
    CONSTRAINT over_budget_pk PRIMARY KEY (db, sync, target),
    CONSTRAINT over_budget_db_fk FOREIGN KEY (db) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT over_budget_sync_fk
        FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE CASCADE
);

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('queue_rows_max', '0', '0', 'More changes than that, kept by a source for one target, are over the budget; 0: any'),
    ('queue_mb_max', '0', '0', 'The same in megabytes'),
    ('queue_age_max', '0', '0', 'The same in seconds: the age of the oldest change'),
    ('queue_policy', 'warn', 'warn', 'What is done about a target over the budget: warn, stall or copy')
ON CONFLICT DO NOTHING;
