-- How syncs, kids and databases are at present. The daemon writes the table "live" while it runs; the view "state" is what
-- others read: there all is down while no daemon holds the lease, whatever the last one has left in the table.

CREATE TABLE IF NOT EXISTS bucardo.live (
    kind     text        NOT NULL,
    sync     text        NOT NULL,
    source   text        NOT NULL,
    db       text        NOT NULL,
    id       integer     NULL,
    state    text        NOT NULL,
    since    timestamptz NULL,
    why      text        NULL,
    hint     text        NULL,
    next_try timestamptz NULL,
    doing    text        NULL,
    CONSTRAINT live_pk PRIMARY KEY (kind, sync, source, db),
    CONSTRAINT live_kind_valid CHECK (kind IN ('mcp', 'vac', 'sync', 'kid', 'db'))
) WITH (fillfactor = 50);

-- Whether a daemon holds the lease on this control database: the number is "bucardo".
CREATE OR REPLACE VIEW bucardo.daemon AS
SELECT EXISTS (
    SELECT 1
    FROM pg_catalog.pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.classid = 6452579 AND l.objid = 1634886767
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
) AS runs;

-- A later one has more columns, which a replacement could not take away.
DROP VIEW IF EXISTS bucardo.state;
CREATE VIEW bucardo.state AS
SELECT l.kind, l.sync, l.source, l.db, l.id,
       CASE WHEN d.runs THEN l.state ELSE 'down' END AS state,
       CASE WHEN d.runs THEN l.since END AS since,
       CASE WHEN d.runs THEN l.why ELSE 'the daemon does not run' END AS why,
       CASE WHEN d.runs THEN l.hint ELSE 'bucardo start' END AS hint,
       CASE WHEN d.runs THEN l.next_try END AS next_try,
       CASE WHEN d.runs THEN l.doing END AS doing
FROM bucardo.live AS l, bucardo.daemon AS d;

-- Who lived from when to when (setting audit_pid), as versions 3 and 4 noted it: the daemon, its controllers and kids.
CREATE SEQUENCE IF NOT EXISTS bucardo.audit_pid_id_seq;
CREATE TABLE IF NOT EXISTS bucardo.audit_pid (
    id             integer     NOT NULL DEFAULT nextval('bucardo.audit_pid_id_seq'),
    parentid       integer     NULL,
    familyid       integer     NULL,
    type           text        NOT NULL,
    sync           text        NULL,
    source         text        NULL,
    target         text        NULL,
    master_backend integer     NULL     DEFAULT pg_catalog.pg_backend_pid(),
    source_backend integer     NULL,
    target_backend integer     NULL,
    ppid           integer     NULL,
    pid            integer     NULL,
    birthdate      timestamptz NOT NULL DEFAULT now(),
    killdate       timestamptz NULL,
    birth          text        NULL,
    death          text        NULL,
    CONSTRAINT audit_pid_id_pk PRIMARY KEY (id)
);
ALTER SEQUENCE bucardo.audit_pid_id_seq OWNED BY bucardo.audit_pid.id;
CREATE INDEX IF NOT EXISTS audit_pid_alive ON bucardo.audit_pid (type, sync) WHERE killdate IS NULL;

-- Follows the table "live": who appears there, or is no longer down, was born; who is down or gone has died.
CREATE OR REPLACE FUNCTION bucardo.audit_live() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    is_up  boolean := false;
    was_up boolean := false;
    one    bucardo.live;
    role   text;
    mcp    integer;
BEGIN
    -- Step by step: PostgreSQL 10 knows no OLD in an insert, and no defaults of rows.
    IF TG_OP = 'DELETE' THEN
        one := OLD;
    ELSE
        one := NEW;
        is_up := NEW.state NOT IN ('down', 'stalled', 'finished');
    END IF;
    IF TG_OP <> 'INSERT' THEN
        was_up := OLD.state NOT IN ('down', 'stalled', 'finished');
    END IF;
    role := CASE one.kind WHEN 'mcp' THEN 'MCP' WHEN 'sync' THEN 'CTL' WHEN 'kid' THEN 'KID' WHEN 'vac' THEN 'VAC' END;
    IF role IS NULL OR is_up = was_up
       OR NOT EXISTS (SELECT 1 FROM bucardo.bucardo_config
                      WHERE name = 'audit_pid' AND item IS NULL AND setting IN ('1', 'on', 'true', 'yes')) THEN
        RETURN NULL;
    END IF;
    UPDATE bucardo.audit_pid AS a
    SET killdate = clock_timestamp(), death = coalesce(one.why, 'ended')
    WHERE a.killdate IS NULL AND a.type = role
      AND (coalesce(a.sync, ''), coalesce(a.source, ''), coalesce(a.target, '')) = (one.sync, one.source, one.db);
    IF is_up THEN
        SELECT max(a.id) INTO mcp FROM bucardo.audit_pid AS a WHERE a.type = 'MCP' AND a.killdate IS NULL;
        INSERT INTO bucardo.audit_pid (parentid, familyid, type, sync, source, target, pid, birthdate, birth)
        VALUES (mcp, mcp, role, nullif(one.sync, ''), nullif(one.source, ''), nullif(one.db, ''), one.id,
                clock_timestamp(), 'started');
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS audit_live ON bucardo.live;
CREATE TRIGGER audit_live AFTER INSERT OR UPDATE OR DELETE ON bucardo.live
    FOR EACH ROW EXECUTE PROCEDURE bucardo.audit_live();
