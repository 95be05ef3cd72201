-- Who did a run and for whom, counts of each table, and where old runs go: the view "q" of earlier versions, and the
-- freezer, a partition a day.

ALTER TABLE bucardo.syncrun ADD COLUMN IF NOT EXISTS sourcedb text NULL;
ALTER TABLE bucardo.syncrun ADD COLUMN IF NOT EXISTS targetdb text NULL;
ALTER TABLE bucardo.syncrun ADD COLUMN IF NOT EXISTS pid integer NULL;
CREATE INDEX IF NOT EXISTS syncrun_ended ON bucardo.syncrun (ended);

-- What was brought to a database, table by table, since the sync exists.
CREATE TABLE IF NOT EXISTS bucardo.goat_total (
    sync    text        NOT NULL,
    goat    integer     NOT NULL,
    target  text        NOT NULL,
    deletes bigint      NOT NULL DEFAULT 0,
    inserts bigint      NOT NULL DEFAULT 0,
    since   timestamptz NOT NULL DEFAULT now(),
    last    timestamptz NOT NULL,
    CONSTRAINT goat_total_pk PRIMARY KEY (sync, goat, target),
    CONSTRAINT goat_total_sync_fk
        FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT goat_total_goat_fk FOREIGN KEY (goat) REFERENCES bucardo.goat (id) ON UPDATE CASCADE ON DELETE CASCADE
);

-- The runs in the shape of the job queue of versions 3 and 4.
CREATE OR REPLACE VIEW bucardo.q AS
SELECT r.sync, r.sourcedb, r.targetdb, NULL::integer AS ppid, r.pid,
       CASE WHEN r.targetdb IS NULL THEN 'swap'
            WHEN EXISTS (SELECT FROM bucardo.sync AS s JOIN bucardo.dbmap AS m ON m.dbgroup = s.dbs
                         WHERE s.name = r.sync AND m.db = r.targetdb AND m.role = 'fullcopy') THEN 'fullcopy'
            ELSE 'pushdelta' END AS synctype,
       0::bigint AS updates, r.inserts, r.deletes, r.started,
       CASE WHEN r.status LIKE 'Failed%' THEN r.ended END AS aborted,
       CASE WHEN r.status LIKE 'Failed%' THEN r.status END AS whydie,
       r.ended, r.started AS cdate
FROM bucardo.syncrun AS r;

-- Not IF NOT EXISTS: that wants the right to create one even when there is nothing to do.
DO $$ BEGIN
    IF to_regnamespace('freezer') IS NULL THEN
        CREATE SCHEMA freezer;
        GRANT USAGE ON SCHEMA freezer TO PUBLIC;
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS freezer.master_q (
    sync     text        NULL,
    sourcedb text        NULL,
    targetdb text        NULL,
    ppid     integer     NULL,
    pid      integer     NULL,
    synctype text        NULL,
    updates  bigint      NULL,
    inserts  bigint      NULL,
    deletes  bigint      NULL,
    started  timestamptz NULL,
    aborted  timestamptz NULL,
    whydie   text        NULL,
    ended    timestamptz NULL,
    cdate    timestamptz NOT NULL DEFAULT now(),
    truncates integer    NULL,
    conflicts bigint     NULL,
    status    text       NULL
) PARTITION BY RANGE (cdate);
GRANT SELECT ON freezer.master_q TO PUBLIC;

-- Makes the partition of a day (UTC) of the freezer, child_q_YYYYMMDD, unless it is there.
CREATE OR REPLACE FUNCTION bucardo.create_child_q(child text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    first timestamptz;
BEGIN
    IF child !~ '^child_q_[0-9]{8}$' OR child IS NULL THEN
        RAISE EXCEPTION 'The name of a partition of the freezer is child_q_YYYYMMDD, not %', coalesce(child, 'NULL');
    END IF;
    IF to_regclass('freezer.' || child) IS NOT NULL THEN
        RETURN 'Table freezer.' || child || ' exists';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('bucardo freezer'));
    IF to_regclass('freezer.' || child) IS NULL THEN
        first := to_date(right(child, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC';
        EXECUTE format('CREATE TABLE freezer.%I PARTITION OF freezer.master_q FOR VALUES FROM (%L) TO (%L)',
            child, first, first + interval '24 hours');
        EXECUTE format('CREATE INDEX %I ON freezer.%I (cdate)', child || '_daterange', child);
        EXECUTE format('GRANT SELECT ON freezer.%I TO PUBLIC', child);
    END IF;
    RETURN 'Created table freezer.' || child;
END $$;

-- Moves runs that ended longer ago than that into the freezer, all or so many; returns how many. The last good, bad
-- and empty run of each sync stay: "status" shows them.
CREATE OR REPLACE FUNCTION bucardo.bucardo_purge_q_table(keep interval, rows_max bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rows bigint := 0;
    days text[];
    kept bigint;
BEGIN
    IF keep IS NULL THEN
        RAISE EXCEPTION 'bucardo_purge_q_table needs an interval: runs that ended later than that ago stay';
    END IF;
    -- One at a time: two would wait for each other's rows.
    PERFORM pg_advisory_xact_lock(hashtext('bucardo freezer'));
    SELECT array_agg(DISTINCT to_char(r.started AT TIME ZONE 'UTC', '"child_q_"YYYYMMDD')) INTO days
    FROM (SELECT started FROM bucardo.syncrun
          WHERE ended < now() - keep AND NOT (lastgood OR lastbad OR lastempty)
          ORDER BY ended LIMIT rows_max) AS r;
    PERFORM bucardo.create_child_q(d.day) FROM unnest(days) AS d (day);
    WITH old AS (
        SELECT ctid AS place FROM bucardo.syncrun
        WHERE ended < now() - keep AND NOT (lastgood OR lastbad OR lastempty)
        ORDER BY ended LIMIT rows_max
    ), types AS (
        SELECT s.name AS sync, m.db FROM bucardo.sync AS s JOIN bucardo.dbmap AS m ON m.dbgroup = s.dbs
        WHERE m.role = 'fullcopy'
    ), gone AS (
        DELETE FROM bucardo.syncrun WHERE ctid = ANY (ARRAY(SELECT o.place FROM old AS o)) RETURNING *
    )
    INSERT INTO freezer.master_q (sync, sourcedb, targetdb, pid, synctype, updates, inserts, deletes, started, aborted,
                                  whydie, ended, cdate, truncates, conflicts, status)
    SELECT g.sync, g.sourcedb, g.targetdb, g.pid,
           CASE WHEN g.targetdb IS NULL THEN 'swap'
                WHEN EXISTS (SELECT FROM types AS t WHERE t.sync = g.sync AND t.db = g.targetdb) THEN 'fullcopy'
                ELSE 'pushdelta' END,
           0, g.inserts, g.deletes, g.started,
           CASE WHEN g.status LIKE 'Failed%' THEN g.ended END, CASE WHEN g.status LIKE 'Failed%' THEN g.status END,
           g.ended, g.started, g.truncates, g.conflicts, g.status
    FROM gone AS g;
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN rows;
END $$;

CREATE OR REPLACE FUNCTION bucardo.bucardo_purge_q_table(keep interval) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moved bigint := bucardo.bucardo_purge_q_table(keep, NULL);
BEGIN
    RAISE NOTICE 'Rows left in q table: %', (SELECT count(*) FROM bucardo.syncrun);
    RETURN moved;
END $$;

CREATE OR REPLACE FUNCTION bucardo.bucardo_purge_q_table(keep text) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT bucardo.bucardo_purge_q_table($1::interval)
$$;

CREATE OR REPLACE FUNCTION bucardo.bucardo_purge_q_table() RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT bucardo.bucardo_purge_q_table(interval '2 hours')
$$;

CREATE OR REPLACE FUNCTION bucardo.bucardo_purge_q_table(integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'bucardo_purge_q_table takes an interval, such as ''30 minutes'', and no number';
END $$;

-- Drops the partitions of the freezer whose day ended longer ago than that; returns how many.
CREATE OR REPLACE FUNCTION bucardo.drop_child_q(keep interval) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    child   text;
    dropped bigint := 0;
BEGIN
    FOR child IN
        SELECT c.relname
        FROM pg_inherits AS i
        JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'freezer.master_q'::regclass AND c.relname ~ '^child_q_[0-9]{8}$'
          AND (to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC') + interval '24 hours' < now() - keep
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE freezer.%I', child);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('run_keep', '86400', '86400', 'How many seconds a run stays in syncrun before the VAC moves it to the freezer'),
    ('freezer_keep', '604800', '604800', 'How many seconds old runs stay in the freezer, in whole days; 0: for ever')
ON CONFLICT DO NOTHING;
