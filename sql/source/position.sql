-- What a target database keeps: how far it has read each source, committed together with the data. Safe to run again.
--   snapshot      what is visible in it has been delivered (txid_snapshot of the source)
--   round         counts up with every committed round; the source's track holds the same number, or one less after a crash
--   system_id     the source's cluster (pg_control_system), so that a re-created source is noticed
--   timeline      the source's timeline, which a promotion or a restore changes; 0: not known yet
--   copy_request  the last onetimecopy request that this target has answered; negative: the one that it is being copied
--                 for, piece by piece: see copy_job
--   quarantine    counts up whenever the tables in quarantine become others
CREATE SCHEMA IF NOT EXISTS bucardo;
CREATE TABLE IF NOT EXISTS bucardo.position (
    sync         text        NOT NULL,
    source       text        NOT NULL,
    snapshot     text        NOT NULL,
    round        bigint      NOT NULL DEFAULT 0,
    system_id    bigint      NOT NULL,
    timeline     bigint      NOT NULL DEFAULT 0,
    copy_request bigint      NOT NULL DEFAULT 0,
    deletes      bigint      NOT NULL DEFAULT 0,
    inserts      bigint      NOT NULL DEFAULT 0,
    updated      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, source)
) WITH (fillfactor = 50);
ALTER TABLE bucardo.position ADD COLUMN IF NOT EXISTS quarantine bigint NOT NULL DEFAULT 0;

-- Tables of a source that were put aside, because they cannot be written as they are: the others have the position,
-- these stopped at a snapshot of their own and get from there what they missed.
--   captured  the source's number of the table; with another one its changes are others'
--   whole     not all changes since then were captured: the table comes back by a copy
CREATE TABLE IF NOT EXISTS bucardo.quarantine (
    sync       text        NOT NULL,
    source     text        NOT NULL,
    schemaname text        NOT NULL,
    tablename  text        NOT NULL,
    captured   int         NOT NULL,
    snapshot   text        NOT NULL,
    whole      boolean     NOT NULL,
    why        text        NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, source, schemaname, tablename)
);

-- Keys whose rows this target refused: they wait, with the rows that it has, until they are delivered. The newest table
-- of all: where it exists, the rest does too.
CREATE TABLE IF NOT EXISTS bucardo.deadletter (
    sync       text        NOT NULL,
    schemaname text        NOT NULL,
    tablename  text        NOT NULL,
    source     text        NOT NULL,
    key        jsonb       NOT NULL,
    sqlstate   text        NOT NULL,
    error      text        NOT NULL,
    tries      int         NOT NULL DEFAULT 1,
    since      timestamptz NOT NULL DEFAULT now(),
    tried      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, schemaname, tablename, key)
)
