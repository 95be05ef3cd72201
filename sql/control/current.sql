-- The whole catalog as it should be: what all migrations together make. For reading, and for the test that compares
-- the two. The schema "bucardo" must exist.

CREATE TABLE IF NOT EXISTS bucardo.migration (
    level   integer     NOT NULL,
    name    text        NOT NULL,
    applied timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT migration_pk PRIMARY KEY (level)
);

CREATE TABLE IF NOT EXISTS bucardo.bucardo_config (
    name    text        NOT NULL,
    setting text        NOT NULL,
    defval  text        NULL,
    about   text        NULL,
    type    text        NULL,
    item    text        NULL,
    value   text        NULL,
    cdate   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT valid_config_type CHECK (type IN ('sync', 'goat')),
    CONSTRAINT valid_config_isolation_level
        CHECK (name <> 'isolation_level' OR lower(setting) IN ('serializable', 'repeatable read'))
);
CREATE UNIQUE INDEX IF NOT EXISTS bucardo_config_unique
    ON bucardo.bucardo_config (lower(name)) WHERE item IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS bucardo_config_unique_name
    ON bucardo.bucardo_config (name, item, type) WHERE item IS NOT NULL;

CREATE TABLE IF NOT EXISTS bucardo.db (
    name                 text        NOT NULL,
    dbdsn                text        NOT NULL DEFAULT '',
    dbtype               text        NOT NULL DEFAULT 'postgres',
    dbhost               text        NULL     DEFAULT '',
    dbport               text        NULL     DEFAULT '',
    dbname               text        NULL,
    dbuser               text        NULL,
    dbpass               text        NULL,
    dbconn               text        NOT NULL DEFAULT '',
    dbservice            text        NULL     DEFAULT '',
    pgpass               text        NULL,
    status               text        NOT NULL DEFAULT 'active',
    server_side_prepares boolean     NOT NULL DEFAULT true,
    makedelta            boolean     NOT NULL DEFAULT false,
    queue_rows_max       bigint      NULL,
    queue_mb_max         bigint      NULL,
    queue_age_max        interval    NULL,
    queue_policy         text        NULL,
    sourcelimit          smallint    NOT NULL DEFAULT 0,
    targetlimit          smallint    NOT NULL DEFAULT 0,
    cdate                timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT db_queue_valid CHECK (
        queue_policy IN ('', 'warn', 'stall', 'copy') AND queue_rows_max >= 0 AND queue_mb_max >= 0
    ),
    CONSTRAINT db_name_pk PRIMARY KEY (name),
    CONSTRAINT db_name_sane CHECK (name ~ '^[a-zA-Z]\w*$'),
    CONSTRAINT db_status_valid CHECK (status IN ('active', 'inactive', 'stalled')),
    CONSTRAINT db_limits_valid CHECK (sourcelimit >= 0 AND targetlimit >= 0),
    CONSTRAINT db_service_valid CHECK (
        dbservice IS NOT NULL
        OR (dbname IS NOT NULL AND dbuser IS NOT NULL AND dbhost IS NOT NULL AND dbport IS NOT NULL)
    )
);

CREATE TABLE IF NOT EXISTS bucardo.dbgroup (
    name  text        NOT NULL,
    about text        NULL,
    cdate timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dbgroup_name_pk PRIMARY KEY (name),
    CONSTRAINT dbgroup_name_sane CHECK (name ~ '^[a-zA-Z]\w*$')
);

CREATE TABLE IF NOT EXISTS bucardo.dbmap (
    db       text        NOT NULL,
    dbgroup  text        NOT NULL,
    priority smallint    NOT NULL DEFAULT 0,
    role     text        NOT NULL DEFAULT 'target',
    makedelta boolean    NULL,
    cdate    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dbmap_db_fk FOREIGN KEY (db) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT dbmap_dbgroup_fk
        FOREIGN KEY (dbgroup) REFERENCES bucardo.dbgroup (name) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX IF NOT EXISTS dbmap_unique ON bucardo.dbmap (db, dbgroup);

CREATE TABLE IF NOT EXISTS bucardo.db_connlog (
    db         text        NOT NULL,
    conndate   timestamptz NOT NULL DEFAULT now(),
    connstring text        NOT NULL,
    status     text        NOT NULL DEFAULT 'unknown',
    version    text        NULL,
    CONSTRAINT db_connlog_dbid_fk FOREIGN KEY (db) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT db_connlog_status_valid CHECK (status IN ('unknown', 'good', 'down', 'unreachable'))
);

CREATE SEQUENCE IF NOT EXISTS bucardo.goat_id_seq;
CREATE TABLE IF NOT EXISTS bucardo.goat (
    id                   integer     NOT NULL DEFAULT nextval('bucardo.goat_id_seq'),
    db                   text        NOT NULL,
    schemaname           text        NOT NULL,
    tablename            text        NOT NULL,
    reltype              text        NOT NULL DEFAULT 'table',
    pkey                 text        NULL,
    qpkey                text        NULL,
    pkeytype             text        NULL,
    has_delta            boolean     NOT NULL DEFAULT false,
    autokick             boolean     NULL,
    conflict_strategy    text        NULL,
    makedelta            text        NULL,
    rebuild_index        smallint    NULL,
    ghost                boolean     NOT NULL DEFAULT false,
    analyze_after_copy   boolean     NOT NULL DEFAULT true,
    vacuum_after_copy    boolean     NOT NULL DEFAULT true,
    strict_checking      boolean     NOT NULL DEFAULT true,
    delta_bypass         boolean     NOT NULL DEFAULT false,
    delta_bypass_min     bigint      NULL,
    delta_bypass_count   bigint      NULL,
    delta_bypass_percent smallint    NULL,
    key_columns          text[]      NOT NULL DEFAULT '{}',
    customselect         text        NULL,
    ping                 boolean     NULL,
    standard_conflict    text        NULL,
    cdate                timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT goat_id_pk PRIMARY KEY (id),
    CONSTRAINT goat_db_fk FOREIGN KEY (db) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE RESTRICT,
    CONSTRAINT has_schemaname CHECK (length(schemaname) >= 1),
    CONSTRAINT goat_reltype_valid CHECK (reltype IN ('table', 'sequence')),
    CONSTRAINT pkey_needs_type CHECK (pkey = '' OR pkeytype IS NOT NULL)
);
ALTER SEQUENCE bucardo.goat_id_seq OWNED BY bucardo.goat.id;

CREATE SEQUENCE IF NOT EXISTS bucardo.bucardo_custom_trigger_id_seq;
CREATE TABLE IF NOT EXISTS bucardo.bucardo_custom_trigger (
    id               integer     NOT NULL DEFAULT nextval('bucardo.bucardo_custom_trigger_id_seq'),
    goat             integer     NOT NULL,
    trigger_name     text        NOT NULL,
    trigger_type     text        NOT NULL,
    trigger_language text        NOT NULL DEFAULT 'plpgsql',
    trigger_body     text        NOT NULL,
    trigger_level    text        NOT NULL,
    status           text        NOT NULL DEFAULT 'active',
    cdate            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT bucardo_custom_trigger_id_pk PRIMARY KEY (id),
    CONSTRAINT bucardo_custom_trigger_goat_fk FOREIGN KEY (goat) REFERENCES bucardo.goat (id) ON DELETE CASCADE,
    CONSTRAINT bucardo_custom_trigger_type_check CHECK (trigger_type IN ('delta', 'triggerkick')),
    CONSTRAINT bucardo_custom_trigger_level_check CHECK (trigger_level IN ('ROW', 'STATEMENT'))
);
ALTER SEQUENCE bucardo.bucardo_custom_trigger_id_seq OWNED BY bucardo.bucardo_custom_trigger.id;
CREATE UNIQUE INDEX IF NOT EXISTS bucardo_custom_trigger_goat_type_unique
    ON bucardo.bucardo_custom_trigger (goat, trigger_type);

CREATE TABLE IF NOT EXISTS bucardo.herd (
    name  text        NOT NULL,
    about text        NULL,
    cdate timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT herd_name_pk PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS bucardo.herdmap (
    herd     text        NOT NULL,
    goat     integer     NOT NULL,
    priority smallint    NOT NULL DEFAULT 0,
    cdate    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT herdmap_herd_fk FOREIGN KEY (herd) REFERENCES bucardo.herd (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT herdmap_goat_fk FOREIGN KEY (goat) REFERENCES bucardo.goat (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX IF NOT EXISTS bucardo_herdmap_unique ON bucardo.herdmap (herd, goat);

CREATE TABLE IF NOT EXISTS bucardo.sync (
    name               text        NOT NULL,
    herd               text        NULL,
    dbs                text        NULL,
    stayalive          boolean     NOT NULL DEFAULT true,
    kidsalive          boolean     NOT NULL DEFAULT true,
    conflict_strategy  text        NOT NULL DEFAULT 'bucardo_latest',
    copyextra          text        NOT NULL DEFAULT '',
    deletemethod       text        NOT NULL DEFAULT 'delete',
    autokick           boolean     NOT NULL DEFAULT true,
    checktime          interval    NULL,
    status             text        NOT NULL DEFAULT 'active',
    rebuild_index      smallint    NOT NULL DEFAULT 0,
    priority           smallint    NOT NULL DEFAULT 0,
    analyze_after_copy boolean     NOT NULL DEFAULT true,
    vacuum_after_copy  boolean     NOT NULL DEFAULT false,
    strict_checking    boolean     NOT NULL DEFAULT true,
    overdue            interval    NOT NULL DEFAULT '0 seconds'::interval,
    expired            interval    NOT NULL DEFAULT '0 seconds'::interval,
    track_rates        boolean     NOT NULL DEFAULT false,
    onetimecopy        smallint    NOT NULL DEFAULT 0,
    lifetime           interval    NULL,
    maxkicks           integer     NOT NULL DEFAULT 0,
    isolation_level    text        NULL,
    copy_request       bigint      NOT NULL DEFAULT 0,
    do_listen          boolean     NOT NULL DEFAULT false,
    limitdbs           smallint    NOT NULL DEFAULT 0,
    makedelta          boolean     NOT NULL DEFAULT false,
    deadletter         boolean     NOT NULL DEFAULT false,
    lock_table_force   text        NULL,
    source             text        NULL,
    targetdb           text        NULL,
    targetgroup        text        NULL,
    synctype           text        NULL,
    ping               boolean     NULL,
    standard_conflict  text        NULL,
    txnmode            text        NULL,
    usecustomselect    boolean     NOT NULL DEFAULT false,
    copytype           text        NOT NULL DEFAULT 'copy',
    disable_triggers   text        NULL,
    disable_rules      text        NULL,
    cdate              timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sync_name_pk PRIMARY KEY (name),
    CONSTRAINT sync_herd_fk FOREIGN KEY (herd) REFERENCES bucardo.herd (name) ON UPDATE CASCADE ON DELETE RESTRICT,
    CONSTRAINT sync_dbs_fk FOREIGN KEY (dbs) REFERENCES bucardo.dbgroup (name) ON UPDATE CASCADE ON DELETE RESTRICT,
    CONSTRAINT sync_name_sane
        CHECK (name ~ '^[a-zA-Z]\w*$' AND lower(name) NOT IN ('pushdelta', 'fullcopy', 'swap', 'sync')),
    CONSTRAINT sync_deletemethod_valid CHECK (deletemethod IN ('truncate', 'delete', 'truncate_cascade')),
    CONSTRAINT sync_onetimecopy_valid CHECK (onetimecopy IN (0, 1, 2)),
    CONSTRAINT sync_isolation_level_valid
        CHECK (isolation_level IS NULL OR lower(isolation_level) IN ('serializable', 'repeatable read')),
    CONSTRAINT sync_limitdbs_valid CHECK (limitdbs >= 0),
    CONSTRAINT sync_synctype_valid CHECK (synctype IN ('pushdelta', 'fullcopy', 'swap')),
    CONSTRAINT sync_targetdb_fk
        FOREIGN KEY (targetdb) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE SET NULL,
    CONSTRAINT sync_targetgroup_fk
        FOREIGN KEY (targetgroup) REFERENCES bucardo.dbgroup (name) ON UPDATE CASCADE ON DELETE RESTRICT
);

CREATE SEQUENCE IF NOT EXISTS bucardo.clone_id_seq;
CREATE TABLE IF NOT EXISTS bucardo.clone (
    id       integer     NOT NULL DEFAULT nextval('bucardo.clone_id_seq'),
    sync     text        NULL,
    dbgroup  text        NULL,
    relgroup text        NULL,
    options  text        NULL,
    status   text        NULL,
    started  timestamptz NULL,
    ended    timestamptz NULL,
    summary  text        NULL,
    cdate    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT clone_id_pk PRIMARY KEY (id),
    CONSTRAINT clone_sync_fk FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT clone_dbgroup_fk
        FOREIGN KEY (dbgroup) REFERENCES bucardo.dbgroup (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT clone_relgroup_fk
        FOREIGN KEY (relgroup) REFERENCES bucardo.herd (name) ON UPDATE CASCADE ON DELETE CASCADE
);
ALTER SEQUENCE bucardo.clone_id_seq OWNED BY bucardo.clone.id;

CREATE SEQUENCE IF NOT EXISTS bucardo.customcode_id_seq;
CREATE TABLE IF NOT EXISTS bucardo.customcode (
    id       integer     NOT NULL DEFAULT nextval('bucardo.customcode_id_seq'),
    name     text        NOT NULL,
    about    text        NULL,
    whenrun  text        NOT NULL,
    getdbh   boolean     NOT NULL DEFAULT true,
    src_code text        NOT NULL,
    status   text        NOT NULL DEFAULT 'active',
    priority smallint    NOT NULL DEFAULT 0,
    getrows  boolean     NOT NULL DEFAULT false,
    trigrules boolean    NOT NULL DEFAULT false,
    cdate    timestamptz NOT NULL DEFAULT now(),
    language text        NOT NULL DEFAULT 'perl',
    CONSTRAINT customcode_id_pk PRIMARY KEY (id),
    CONSTRAINT customcode_name_unique UNIQUE (name),
    CONSTRAINT customcode_whenrun CHECK (whenrun IN (
        'before_txn', 'before_check_rows', 'before_trigger_disable', 'after_trigger_disable', 'after_table_sync',
        'exception', 'conflict', 'before_trigger_enable', 'after_trigger_enable', 'after_txn', 'before_sync',
        'after_sync'
    )),
    CONSTRAINT customcode_language CHECK (language IN ('lua', 'perl', 'sql'))
);
ALTER SEQUENCE bucardo.customcode_id_seq OWNED BY bucardo.customcode.id;

CREATE TABLE IF NOT EXISTS bucardo.customcode_map (
    code     integer     NOT NULL,
    sync     text        NULL,
    goat     integer     NULL,
    active   boolean     NOT NULL DEFAULT true,
    priority smallint    NOT NULL DEFAULT 0,
    cdate    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT customcode_map_code_fk FOREIGN KEY (code) REFERENCES bucardo.customcode (id) ON DELETE CASCADE,
    CONSTRAINT customcode_map_sync_fk
        FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE SET NULL,
    CONSTRAINT customcode_map_goat_fk FOREIGN KEY (goat) REFERENCES bucardo.goat (id) ON DELETE SET NULL,
    CONSTRAINT customcode_map_syncgoat CHECK (sync IS NULL OR goat IS NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS customcode_map_unique_sync
    ON bucardo.customcode_map (code, sync) WHERE sync IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS customcode_map_unique_goat
    ON bucardo.customcode_map (code, goat) WHERE goat IS NOT NULL;

CREATE SEQUENCE IF NOT EXISTS bucardo.customname_id_seq;
CREATE TABLE IF NOT EXISTS bucardo.customname (
    id      integer     NOT NULL DEFAULT nextval('bucardo.customname_id_seq'),
    goat    integer     NOT NULL,
    newname text        NULL,
    db      text        NULL,
    sync    text        NULL,
    cdate   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT customname_id_pk PRIMARY KEY (id),
    CONSTRAINT customname_goat_fk FOREIGN KEY (goat) REFERENCES bucardo.goat (id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT customname_db_fk FOREIGN KEY (db) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT customname_sync_fk
        FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT customname_newname_sane CHECK (newname <> '')
);
ALTER SEQUENCE bucardo.customname_id_seq OWNED BY bucardo.customname.id;

CREATE SEQUENCE IF NOT EXISTS bucardo.customcols_id_seq;
CREATE TABLE IF NOT EXISTS bucardo.customcols (
    id     integer     NOT NULL DEFAULT nextval('bucardo.customcols_id_seq'),
    goat   integer     NOT NULL,
    clause text        NULL,
    db     text        NULL,
    sync   text        NULL,
    cdate  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT customcols_id_pk PRIMARY KEY (id),
    CONSTRAINT customcols_goat_fk FOREIGN KEY (goat) REFERENCES bucardo.goat (id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT customcols_db_fk FOREIGN KEY (db) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT customcols_sync_fk
        FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE CASCADE
);
ALTER SEQUENCE bucardo.customcols_id_seq OWNED BY bucardo.customcols.id;

CREATE TABLE IF NOT EXISTS bucardo.syncrun (
    sync      text        NULL,
    truncates integer     NOT NULL DEFAULT 0,
    deletes   bigint      NOT NULL DEFAULT 0,
    inserts   bigint      NOT NULL DEFAULT 0,
    conflicts bigint      NOT NULL DEFAULT 0,
    started   timestamptz NOT NULL DEFAULT now(),
    ended     timestamptz NULL,
    lastgood  boolean     NOT NULL DEFAULT false,
    lastbad   boolean     NOT NULL DEFAULT false,
    lastempty boolean     NOT NULL DEFAULT false,
    details   text        NULL,
    status    text        NULL,
    sourcedb  text        NULL,
    targetdb  text        NULL,
    pid       integer     NULL,
    CONSTRAINT syncrun_sync_fk FOREIGN KEY (sync) REFERENCES bucardo.sync (name) ON UPDATE CASCADE ON DELETE SET NULL
);
CREATE INDEX IF NOT EXISTS syncrun_sync_started ON bucardo.syncrun (sync) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS syncrun_sync_lastgood ON bucardo.syncrun (sync) WHERE lastgood;
CREATE INDEX IF NOT EXISTS syncrun_sync_lastbad ON bucardo.syncrun (sync) WHERE lastbad;
CREATE INDEX IF NOT EXISTS syncrun_sync_lastempty ON bucardo.syncrun (sync) WHERE lastempty;
CREATE INDEX IF NOT EXISTS syncrun_ended ON bucardo.syncrun (ended);

CREATE TABLE IF NOT EXISTS bucardo.dbrun (
    sync    text        NOT NULL,
    dbname  text        NOT NULL,
    pgpid   integer     NOT NULL,
    started timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS dbrun_index ON bucardo.dbrun (sync);

CREATE TABLE IF NOT EXISTS bucardo.bucardo_rate (
    sync         text        NOT NULL,
    goat         integer     NOT NULL,
    target       text        NULL,
    mastercommit timestamptz NOT NULL,
    slavecommit  timestamptz NOT NULL,
    total        integer     NOT NULL
);
CREATE INDEX IF NOT EXISTS bucardo_rate_sync ON bucardo.bucardo_rate (sync);

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

CREATE TABLE IF NOT EXISTS bucardo.upgrade_log (
    action  text        NOT NULL,
    summary text        NOT NULL,
    version text        NOT NULL,
    cdate   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS bucardo.bucardo_log_message (
    msg   text        NOT NULL,
    cdate timestamptz NOT NULL DEFAULT now()
);

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
    relation    text     NOT NULL DEFAULT '',
    connections integer  NULL,
    CONSTRAINT live_pk PRIMARY KEY (kind, sync, source, db, relation),
    CONSTRAINT live_kind_valid CHECK (kind IN ('mcp', 'vac', 'sync', 'kid', 'db', 'table'))
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

CREATE OR REPLACE VIEW bucardo.state AS
SELECT l.kind, l.sync, l.source, l.db, l.id,
       CASE WHEN d.runs THEN l.state ELSE 'down' END AS state,
       CASE WHEN d.runs THEN l.since END AS since,
       CASE WHEN d.runs THEN l.why ELSE 'the daemon does not run' END AS why,
       CASE WHEN d.runs THEN l.hint ELSE 'bucardo start' END AS hint,
       CASE WHEN d.runs THEN l.next_try END AS next_try,
       CASE WHEN d.runs THEN l.doing END AS doing,
       l.relation,
       CASE WHEN d.runs THEN l.connections END AS connections
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

-- What only these words may say, psql is told, too. Rows of before are not looked at.

ALTER TABLE bucardo.sync
    DROP CONSTRAINT IF EXISTS sync_status_valid,
    ADD CONSTRAINT sync_status_valid CHECK (status IN ('active', 'inactive', 'stalled')) NOT VALID,
    DROP CONSTRAINT IF EXISTS sync_limits_valid,
    ADD CONSTRAINT sync_limits_valid CHECK (
        maxkicks >= 0
        AND coalesce(lifetime, '0'::interval) >= '0'::interval AND coalesce(checktime, '0'::interval) >= '0'::interval
    ) NOT VALID;
ALTER TABLE bucardo.dbmap
    DROP CONSTRAINT IF EXISTS dbmap_role_valid,
    ADD CONSTRAINT dbmap_role_valid CHECK (role IN ('source', 'target', 'fullcopy')) NOT VALID;

-- Rejects settings for a sync or table that do not name it, and the reverse.
CREATE OR REPLACE FUNCTION bucardo.check_bucardo_config() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF NEW.item IS NOT NULL AND NEW.type IS NULL THEN
        RAISE EXCEPTION 'Must provide a type if giving an item';
    END IF;
    IF NEW.type IS NOT NULL AND NEW.item IS NULL THEN
        RAISE EXCEPTION 'Must provide an item if giving a type';
    END IF;
    IF lower(NEW.name) IN ('sync', 'goat') THEN
        RAISE EXCEPTION 'Invalid configuration name: %', NEW.name;
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS check_bucardo_config ON bucardo.bucardo_config;
CREATE TRIGGER check_bucardo_config BEFORE INSERT OR UPDATE ON bucardo.bucardo_config
    FOR EACH ROW EXECUTE PROCEDURE bucardo.check_bucardo_config();

-- All members of a relgroup live in one database.
CREATE OR REPLACE FUNCTION bucardo.herdcheck() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM 1
       FROM bucardo.herdmap AS m
       JOIN bucardo.goat AS g ON g.id = m.goat
      GROUP BY m.herd
     HAVING count(DISTINCT g.db) > 1;
    IF FOUND THEN
        RAISE EXCEPTION 'All tables within a relgroup must be from the same database';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS herdcheck ON bucardo.herdmap;
CREATE TRIGGER herdcheck AFTER INSERT OR UPDATE ON bucardo.herdmap
    FOR EACH STATEMENT EXECUTE PROCEDURE bucardo.herdcheck();

CREATE OR REPLACE FUNCTION bucardo.bucardo_log_message_notify() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NOTIFY bucardo_log_message;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS bucardo_log_message_trigger ON bucardo.bucardo_log_message;
CREATE TRIGGER bucardo_log_message_trigger AFTER INSERT ON bucardo.bucardo_log_message
    FOR EACH STATEMENT EXECUTE PROCEDURE bucardo.bucardo_log_message_notify();

CREATE OR REPLACE FUNCTION bucardo.table_exists(text, text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT EXISTS (
        SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2
    )
$$;

-- Counts each time that onetimecopy goes from 0 to 1 or 2.
CREATE OR REPLACE FUNCTION bucardo.count_copy_request() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.onetimecopy <> 0 AND NEW.copy_request = 0 THEN
            NEW.copy_request := 1;
        END IF;
    ELSIF NEW.onetimecopy <> 0 AND OLD.onetimecopy = 0 AND NEW.copy_request = OLD.copy_request THEN
        NEW.copy_request := OLD.copy_request + 1;
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS count_copy_request ON bucardo.sync;
CREATE TRIGGER count_copy_request BEFORE INSERT OR UPDATE ON bucardo.sync
    FOR EACH ROW EXECUTE PROCEDURE bucardo.count_copy_request();

-- A conflict strategy in the words of version 5, from one in those of version 3.
CREATE OR REPLACE FUNCTION bucardo.conflict_strategy_of(word text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN lower(btrim(word)) IN ('source', 'target', 'skip', 'random', 'latest', 'abort')
                THEN 'bucardo_' || lower(btrim(word)) ELSE word END
$$;

-- The reverse; NULL where version 3 had no word.
CREATE OR REPLACE FUNCTION bucardo.standard_conflict_of(strategy text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN strategy IN ('bucardo_source', 'bucardo_target', 'bucardo_skip', 'bucardo_random',
                                  'bucardo_latest', 'bucardo_abort')
                THEN substr(strategy, 9) END
$$;

-- A conflict strategy of a sequence in the words of today, from one in those of version 3.
CREATE OR REPLACE FUNCTION bucardo.sequence_strategy_of(word text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN lower(btrim(word)) IN ('source', 'target', 'skip', 'lowest', 'highest')
                THEN 'bucardo_' || lower(btrim(word)) ELSE word END
$$;

-- Tables: the key as a list, whoever wrote it as text; ping and standard_conflict are autokick and conflict_strategy.
CREATE OR REPLACE FUNCTION bucardo.classic_goat() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    is_new CONSTANT boolean := TG_OP = 'INSERT';
    is_sequence CONSTANT boolean := NEW.reltype = 'sequence';
    words CONSTANT text[] := CASE WHEN is_sequence THEN ARRAY['source', 'target', 'skip', 'lowest', 'highest']
                                  ELSE ARRAY['source', 'target', 'skip', 'random', 'latest', 'abort'] END;
BEGIN
    IF is_new THEN
        IF coalesce(NEW.pkey, '') <> '' AND NEW.key_columns = '{}' THEN
            NEW.key_columns := string_to_array(NEW.pkey, '|');
        END IF;
    ELSIF NEW.pkey IS DISTINCT FROM OLD.pkey AND NEW.key_columns = OLD.key_columns THEN
        NEW.key_columns := coalesce(string_to_array(nullif(NEW.pkey, ''), '|'), '{}');
    END IF;
    IF (is_new AND NEW.qpkey IS NULL OR NOT is_new AND NEW.qpkey IS NOT DISTINCT FROM OLD.qpkey)
       AND NEW.key_columns <> '{}' THEN
        NEW.qpkey := (SELECT string_agg(quote_ident(k.name), '|' ORDER BY k.place)
                        FROM unnest(NEW.key_columns) WITH ORDINALITY AS k(name, place));
    END IF;
    IF NEW.ping IS NOT NULL AND (is_new AND NEW.autokick IS NULL)
       OR NOT is_new AND NEW.ping IS DISTINCT FROM OLD.ping AND NEW.autokick IS NOT DISTINCT FROM OLD.autokick THEN
        NEW.autokick := NEW.ping;
    END IF;
    NEW.ping := NEW.autokick;
    IF NEW.standard_conflict IS NOT NULL AND (is_new AND coalesce(NEW.conflict_strategy, '') = '')
       OR NOT is_new AND NEW.standard_conflict IS DISTINCT FROM OLD.standard_conflict
          AND NEW.conflict_strategy IS NOT DISTINCT FROM OLD.conflict_strategy THEN
        IF NEW.standard_conflict <> ALL (words) THEN
            RAISE EXCEPTION 'Invalid standard_conflict "%" for % %.%',
                NEW.standard_conflict, NEW.reltype, NEW.schemaname, NEW.tablename
                USING HINT = 'It is one of ' || array_to_string(words, ', ')
                             || '; conflict_strategy takes names of databases, too';
        END IF;
        NEW.conflict_strategy := NEW.standard_conflict;
    END IF;
    IF is_sequence THEN
        NEW.conflict_strategy := bucardo.sequence_strategy_of(NEW.conflict_strategy);
        NEW.standard_conflict := CASE WHEN substr(NEW.conflict_strategy, 9) = ANY (words)
                                       AND NEW.conflict_strategy LIKE 'bucardo\_%'
                                      THEN substr(NEW.conflict_strategy, 9) END;
        RETURN NEW;
    END IF;
    NEW.conflict_strategy := bucardo.conflict_strategy_of(NEW.conflict_strategy);
    NEW.standard_conflict := bucardo.standard_conflict_of(NEW.conflict_strategy);
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS classic_goat ON bucardo.goat;
CREATE TRIGGER classic_goat BEFORE INSERT OR UPDATE ON bucardo.goat
    FOR EACH ROW EXECUTE PROCEDURE bucardo.classic_goat();

-- The role that a target has by the kind of sync.
CREATE OR REPLACE FUNCTION bucardo.role_of(synctype text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT CASE synctype WHEN 'fullcopy' THEN 'fullcopy' WHEN 'swap' THEN 'source' ELSE 'target' END
$$;

-- What versions 3 and 4 call the targets of a sync: all databases of its group but the first source, by role. One is
-- targetdb, several are the group itself.
CREATE OR REPLACE FUNCTION bucardo.targets_of(
    dbs text, herd text, OUT targetdb text, OUT targetgroup text, OUT synctype text, OUT home text
)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    WITH members AS (
        SELECT m.db, m.role,
               m.role = 'source' AND 1 = row_number() OVER (
                   ORDER BY m.role = 'source' DESC, m.priority DESC,
                            EXISTS (SELECT FROM bucardo.herdmap AS h JOIN bucardo.goat AS g ON g.id = h.goat
                                    WHERE h.herd = $2 AND g.db = m.db) DESC,
                            m.db) AS is_home
          FROM bucardo.dbmap AS m JOIN bucardo.db AS d ON d.name = m.db
         WHERE m.dbgroup = $1
    )
    SELECT CASE WHEN count(*) FILTER (WHERE NOT is_home) = 1 THEN min(db) FILTER (WHERE NOT is_home) END,
           CASE WHEN count(*) FILTER (WHERE NOT is_home) > 1 THEN $1 END,
           CASE WHEN bool_or(role = 'source') FILTER (WHERE NOT is_home) THEN 'swap'
                WHEN bool_and(role = 'fullcopy') FILTER (WHERE NOT is_home) THEN 'fullcopy'
                WHEN count(*) FILTER (WHERE NOT is_home) > 0 THEN 'pushdelta' END,
           min(db) FILTER (WHERE is_home)
      FROM members
$$;

-- Syncs: source, targetdb, targetgroup and synctype make a relgroup and a group of databases, and whoever gives these
-- finds the others filled in. A targetgroup that is not the group of the sync itself was asked for, and is followed.
CREATE OR REPLACE FUNCTION bucardo.classic_sync() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    is_new CONSTANT boolean := TG_OP = 'INSERT';
    asks_source boolean := false;
    asks_db boolean;
    asks_group boolean;
    asks_kind boolean;
    asks_dbs boolean;
    asks_targets boolean;
    follows boolean := false;
    known record;
    home text;
    targets text[];
    wanted text;
    number integer := 1;
BEGIN
    IF is_new AND NEW.herd IS NULL THEN
        NEW.herd := NEW.source;
    ELSIF NOT is_new AND NEW.source IS DISTINCT FROM OLD.source AND NEW.herd IS NOT DISTINCT FROM OLD.herd THEN
        NEW.herd := NEW.source;
        asks_source := true;
    ELSIF NEW.source <> NEW.herd AND (is_new OR NEW.source IS DISTINCT FROM OLD.source) THEN
        RAISE EXCEPTION 'Sync "%" cannot have the source "%" and the relgroup "%"', NEW.name, NEW.source, NEW.herd
            USING HINT = 'source and herd are the same thing: give one of them';
    END IF;
    NEW.source := NEW.herd;
    IF NEW.ping IS NOT NULL AND is_new
       OR NOT is_new AND NEW.ping IS DISTINCT FROM OLD.ping AND NEW.autokick = OLD.autokick THEN
        NEW.autokick := coalesce(NEW.ping, true);
    END IF;
    NEW.ping := NEW.autokick;
    IF NEW.standard_conflict IS NOT NULL AND is_new
       OR NOT is_new AND NEW.standard_conflict IS DISTINCT FROM OLD.standard_conflict
          AND NEW.conflict_strategy = OLD.conflict_strategy THEN
        NEW.conflict_strategy := coalesce(NEW.standard_conflict, '');
    END IF;
    NEW.conflict_strategy := bucardo.conflict_strategy_of(NEW.conflict_strategy);
    NEW.standard_conflict := bucardo.standard_conflict_of(NEW.conflict_strategy);
    IF NEW.txnmode IS NOT NULL AND is_new AND NEW.isolation_level IS NULL
       OR NOT is_new AND NEW.txnmode IS DISTINCT FROM OLD.txnmode
          AND NEW.isolation_level IS NOT DISTINCT FROM OLD.isolation_level THEN
        NEW.isolation_level := lower(NEW.txnmode);
    END IF;
    NEW.txnmode := upper(NEW.isolation_level);

    NEW.synctype := lower(NEW.synctype);
    IF is_new THEN
        asks_db := NEW.targetdb IS NOT NULL;
        asks_group := NEW.targetgroup IS NOT NULL;
        asks_kind := NEW.synctype IS NOT NULL;
        asks_dbs := NEW.dbs IS NOT NULL;
        asks_targets := asks_db OR asks_group OR asks_kind;
        follows := asks_group;
    ELSE
        -- Another name for the same thing asks for nothing.
        asks_db := coalesce(NEW.targetdb <> coalesce(OLD.targetdb, ''), false)
            AND (OLD.targetdb IS NULL OR EXISTS (SELECT FROM bucardo.db AS d WHERE d.name = OLD.targetdb));
        asks_group := coalesce(NEW.targetgroup <> coalesce(OLD.targetgroup, ''), false)
            AND (OLD.targetgroup IS NULL
                 OR EXISTS (SELECT FROM bucardo.dbgroup AS g WHERE g.name = OLD.targetgroup));
        asks_kind := coalesce(NEW.synctype <> coalesce(OLD.synctype, ''), false);
        asks_dbs := NEW.dbs IS DISTINCT FROM OLD.dbs
            AND (OLD.dbs IS NULL OR EXISTS (SELECT FROM bucardo.dbgroup AS g WHERE g.name = OLD.dbs));
        IF asks_db AND NOT asks_group THEN
            NEW.targetgroup := NULL;
        ELSIF asks_group AND NOT asks_db THEN
            NEW.targetdb := NULL;
        END IF;
        follows := NEW.targetgroup IS NOT NULL AND NOT asks_dbs
            AND (asks_group OR coalesce(OLD.targetgroup <> OLD.dbs, false));
        asks_targets := asks_db OR asks_group OR asks_kind OR asks_source AND NOT EXISTS (
            SELECT FROM bucardo.dbmap AS m
              JOIN bucardo.goat AS g ON g.db = m.db
              JOIN bucardo.herdmap AS h ON h.goat = g.id
             WHERE m.dbgroup = NEW.dbs AND m.role = 'source' AND h.herd = NEW.herd);
    END IF;
    IF NEW.synctype NOT IN ('pushdelta', 'fullcopy', 'swap') THEN
        RAISE EXCEPTION 'Invalid synctype "%" of sync "%"', NEW.synctype, NEW.name
            USING HINT = 'It is one of pushdelta, fullcopy, swap';
    END IF;
    IF asks_targets AND asks_dbs THEN
        SELECT t.* INTO known FROM bucardo.targets_of(NEW.dbs, NEW.herd) AS t;
        IF asks_db AND NEW.targetdb IS DISTINCT FROM known.targetdb
           OR asks_group AND NEW.targetgroup IS DISTINCT FROM known.targetgroup THEN
            RAISE EXCEPTION 'Sync "%" cannot have a target beside the group of databases "%"', NEW.name, NEW.dbs
                USING HINT = 'give targetdb or targetgroup, or else dbs';
        ELSIF asks_kind AND NEW.synctype IS DISTINCT FROM known.synctype THEN
            RAISE EXCEPTION 'Sync "%" cannot be a % with the roles that the group of databases "%" gives',
                NEW.name, NEW.synctype, NEW.dbs
                USING HINT = 'give targetdb or targetgroup with synctype, or else dbs';
        END IF;
        asks_targets := false;
        follows := false;
    END IF;
    IF asks_targets THEN
        IF NEW.targetdb IS NULL AND NEW.targetgroup IS NULL THEN
            RAISE EXCEPTION 'Sync "%" has no target', NEW.name USING HINT = 'give targetdb, targetgroup, or dbs';
        END IF;
        IF NEW.targetdb IS NOT NULL AND NEW.targetgroup IS NOT NULL THEN
            RAISE EXCEPTION 'Sync "%" cannot have both targetdb and targetgroup', NEW.name;
        END IF;
        NEW.synctype := coalesce(NEW.synctype, 'pushdelta');
        IF NEW.synctype = 'swap' AND NEW.targetdb IS NULL THEN
            RAISE EXCEPTION 'Sync "%" is a swap: it needs a targetdb', NEW.name
                USING HINT = 'for more databases give dbs, a group with several sources';
        END IF;
        IF NEW.herd IS NULL THEN
            RAISE EXCEPTION 'Sync "%" has no source', NEW.name USING HINT = 'source is the name of a relgroup';
        END IF;
        IF NOT is_new AND NOT asks_source THEN
            SELECT t.home INTO home FROM bucardo.targets_of(NEW.dbs, NEW.herd) AS t;
        END IF;
        IF home IS NULL THEN
            SELECT min(g.db) INTO home
              FROM bucardo.herdmap AS m JOIN bucardo.goat AS g ON g.id = m.goat
             WHERE m.herd = NEW.herd;
        END IF;
        IF home IS NULL THEN
            RAISE EXCEPTION 'The source "%" of sync "%" is no relgroup with tables', NEW.herd, NEW.name
                USING HINT = 'its tables tell which database is the source: put them into it first (herd, herdmap)';
        END IF;
        IF NOT EXISTS (SELECT FROM bucardo.db AS d WHERE d.name = NEW.targetdb)
           AND NOT EXISTS (SELECT FROM bucardo.dbgroup AS g WHERE g.name = NEW.targetgroup) THEN
            RAISE EXCEPTION 'The target "%" of sync "%" does not exist',
                coalesce(NEW.targetdb, NEW.targetgroup), NEW.name
                USING HINT = 'targetdb is the name of a database (db), targetgroup that of a group of them (dbgroup)';
        END IF;
        IF NEW.targetdb IS NOT NULL THEN
            targets := ARRAY[NEW.targetdb];
        ELSE
            targets := ARRAY(SELECT m.db FROM bucardo.dbmap AS m
                              WHERE m.dbgroup = NEW.targetgroup AND (follows OR m.db <> home));
        END IF;
        IF home = ANY (targets) THEN
            RAISE EXCEPTION 'Database "%" is the source and a target of sync "%"', home, NEW.name;
        END IF;
        -- A group of its own: changes of other syncs do not reach it.
        IF NOT is_new AND NEW.dbs IS NOT NULL
           AND NOT EXISTS (SELECT FROM bucardo.sync AS s WHERE NEW.dbs IN (s.dbs, s.targetgroup) AND s.name <> OLD.name)
        THEN
            wanted := NEW.dbs;
            DELETE FROM bucardo.dbmap AS m WHERE m.dbgroup = wanted AND m.db <> ALL (home || targets);
        ELSE
            wanted := NEW.name;
            WHILE EXISTS (SELECT FROM bucardo.dbgroup AS g WHERE g.name = wanted) LOOP
                number := number + 1;
                wanted := NEW.name || '_' || number;
            END LOOP;
            INSERT INTO bucardo.dbgroup (name) VALUES (wanted);
        END IF;
        -- Of a swap, the database of the herd is the first of the two sources.
        INSERT INTO bucardo.dbmap AS m (db, dbgroup, role, priority)
        VALUES (home, wanted, 'source', CASE NEW.synctype WHEN 'swap' THEN 1 ELSE 0 END)
        ON CONFLICT (db, dbgroup) DO UPDATE
        SET role = 'source', priority = CASE NEW.synctype WHEN 'swap' THEN 1 ELSE m.priority END;
        INSERT INTO bucardo.dbmap AS m (db, dbgroup, role, priority)
        SELECT t.db, wanted, bucardo.role_of(NEW.synctype), coalesce(o.priority, 0)
          FROM unnest(targets) AS t(db)
          LEFT JOIN bucardo.dbmap AS o ON o.dbgroup = NEW.targetgroup AND o.db = t.db
        ON CONFLICT (db, dbgroup) DO UPDATE
        SET role = EXCLUDED.role, priority = CASE NEW.synctype WHEN 'swap' THEN 0 ELSE m.priority END;
        NEW.dbs := wanted;
        IF is_new AND NEW.synctype = 'fullcopy' THEN
            NEW.stayalive := false;
            NEW.kidsalive := false;
        END IF;
    END IF;
    SELECT t.* INTO known FROM bucardo.targets_of(NEW.dbs, NEW.herd) AS t;
    IF follows THEN
        NEW.targetdb := NULL;
        NEW.synctype := coalesce(known.synctype, NEW.synctype);
    ELSE
        NEW.targetdb := known.targetdb;
        NEW.targetgroup := known.targetgroup;
        NEW.synctype := known.synctype;
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS classic_sync ON bucardo.sync;
CREATE TRIGGER classic_sync BEFORE INSERT OR UPDATE ON bucardo.sync
    FOR EACH ROW EXECUTE PROCEDURE bucardo.classic_sync();

-- Databases that join or leave a targetgroup join or leave the syncs that it is the target of.
CREATE OR REPLACE FUNCTION bucardo.classic_targetgroup() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM bucardo.dbmap AS m
         USING bucardo.sync AS s
         WHERE s.targetgroup = OLD.dbgroup AND s.dbs <> OLD.dbgroup AND m.dbgroup = s.dbs AND m.db = OLD.db
           AND m.role <> 'source';
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO bucardo.dbmap (db, dbgroup, role, priority)
        SELECT NEW.db, s.dbs, bucardo.role_of(s.synctype), NEW.priority
          FROM bucardo.sync AS s
         WHERE s.targetgroup = NEW.dbgroup AND s.dbs <> NEW.dbgroup
        ON CONFLICT (db, dbgroup) DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS classic_targetgroup ON bucardo.dbmap;
CREATE TRIGGER classic_targetgroup AFTER INSERT OR UPDATE OR DELETE ON bucardo.dbmap
    FOR EACH ROW EXECUTE PROCEDURE bucardo.classic_targetgroup();

-- Whoever changes the members of a group changes the targets of its syncs; at the end of the transaction, when all
-- members are there.
CREATE OR REPLACE FUNCTION bucardo.classic_targets() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    touched text[] := '{}';
BEGIN
    IF TG_OP <> 'INSERT' THEN
        touched := touched || OLD.dbgroup;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        touched := touched || NEW.dbgroup;
    END IF;
    UPDATE bucardo.sync AS s
       SET dbs = s.dbs
      FROM bucardo.sync AS o
     CROSS JOIN LATERAL bucardo.targets_of(o.dbs, o.herd) AS t
     WHERE o.name = s.name AND s.dbs = ANY (touched)
       AND (t.synctype IS DISTINCT FROM s.synctype
            OR coalesce(s.targetgroup, s.dbs) = s.dbs
               AND (t.targetdb, t.targetgroup) IS DISTINCT FROM (s.targetdb, s.targetgroup));
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS classic_targets ON bucardo.dbmap;
CREATE CONSTRAINT TRIGGER classic_targets AFTER INSERT OR UPDATE OR DELETE ON bucardo.dbmap
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE PROCEDURE bucardo.classic_targets();

-- Versions 3 and 4 dropped triggers where version 5 disables them.
CREATE OR REPLACE FUNCTION bucardo.classic_customcode() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NEW.whenrun := replace(NEW.whenrun, '_trigger_drop', '_trigger_disable');
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS classic_customcode ON bucardo.customcode;
CREATE TRIGGER classic_customcode BEFORE INSERT OR UPDATE ON bucardo.customcode
    FOR EACH ROW EXECUTE PROCEDURE bucardo.classic_customcode();

-- Settings: versions 3 and 4 had (setting, value) where version 5 has (name, setting).
CREATE OR REPLACE FUNCTION bucardo.classic_config() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'The column "value" of bucardo_config is of versions 3 and 4'
            USING HINT = 'UPDATE bucardo.bucardo_config SET setting = the value WHERE name = the name of the setting';
    END IF;
    IF NEW.value IS NOT NULL AND NEW.name IS NULL THEN
        NEW.name := NEW.setting;
        NEW.setting := NEW.value;
    END IF;
    NEW.value := NULL;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS bucardo_config_classic ON bucardo.bucardo_config;
CREATE TRIGGER bucardo_config_classic BEFORE INSERT ON bucardo.bucardo_config
    FOR EACH ROW EXECUTE PROCEDURE bucardo.classic_config();
DROP TRIGGER IF EXISTS bucardo_config_classic_update ON bucardo.bucardo_config;
CREATE TRIGGER bucardo_config_classic_update BEFORE UPDATE OF value ON bucardo.bucardo_config
    FOR EACH STATEMENT EXECUTE PROCEDURE bucardo.classic_config();

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('bucardo_initial_version', '6.0.0', '6.0.0', 'Version of the program that created this schema'),
    ('bucardo_version', '6.0.0', '6.0.0', 'Version of the program that this schema is for'),
    ('mcp_loop_sleep', '0.2', '0.2', 'How long does the main MCP daemon sleep between loops? (accepted for old scripts)'),
    ('mcp_dbproblem_sleep', '15', '15', 'Seconds between two tries of a lost control database (unset: 1, growing to 30); 0: the daemon ends'),
    ('mcp_vactime', '10', '10', 'How often in seconds the MCP asks the VAC how it is'),
    ('mcp_pingtime', '30', '30', 'How often in seconds syncs are looked at unasked, and databases that are away are tried again'),
    ('ctl_sleep', '0.2', '0.2', 'How long a controller sleeps between loops (accepted for old scripts)'),
    ('ctl_checkonkids_time', '10', '10', 'How often in seconds a controller asks its kids how they are'),
    ('ctl_createkid_time', '0.5', '0.5', 'How long a controller waits for a new kid (accepted for old scripts)'),
    ('kid_sleep', '0.5', '0.5', 'How long an idle kid sleeps (accepted for old scripts)'),
    ('kid_nodeltarows_sleep', '0.5', '0.5', 'How long a kid sleeps when it finds nothing (accepted for old scripts)'),
    ('kid_serial_sleep', '0.5', '0.5', 'Seconds before a kid is started again after a serialization failure; below 0: not at once'),
    ('kid_deadlock_sleep', '0.5', '0.5', 'Seconds before a kid is started again after a deadlock; below 0: not at once'),
    ('kid_restart_sleep', '1', '1', 'Seconds before a kid that failed is started again; each further wait is twice as long'),
    ('kid_pingtime', '60', '60', 'How often in seconds an idle kid checks its databases'),
    ('endsync_sleep', '1.0', '1.0', 'How many seconds to wait when custom code asks for an end of the sync'),
    ('vac_sleep', '120', '120', 'How often in seconds the VAC looks for rows to purge'),
    ('vac_run', '30', '30', 'Seconds between two purges of one database at least'),
    ('bucardo_vac', '1', '1', 'Whether the VAC purges at all'),
    ('reload_config_timeout', '30', '30', 'How many seconds the command line waits for the answer to a reload'),
    ('tcp_keepalives_idle', '0', '0', 'Seconds without traffic before a keepalive is sent; 0 leaves it to the program'),
    ('tcp_keepalives_interval', '0', '0', 'Seconds between keepalives; 0 leaves it to the program'),
    ('tcp_keepalives_count', '0', '0', 'Keepalives without answer that end a connection; 0 leaves it to the program'),
    ('log_microsecond', '0', '0', 'Show fractions of seconds in the log'),
    ('log_showpid', '1', '1', 'Show the process number in the log'),
    ('log_showlevel', '0', '0', 'Show the level in the log'),
    ('log_showline', '0', '0', 'Show the source line in the log'),
    ('log_showtime', '3', '3', 'Show the time in the log: 0 none, 1 epoch, 2 UTC, 3 local time'),
    ('log_timer_format', '', '', 'Format of the time in the log (strftime)'),
    ('log_conflict_file', 'bucardo_conflict.log', 'bucardo_conflict.log', 'File for the details of conflicts'),
    ('log_showsyncname', '1', '1', 'Show the name of the sync in the log lines of kids'),
    ('log_level', 'normal', 'normal', 'How much to log: terse, normal, verbose, debug'),
    ('warning_file', 'bucardo.warning.log', 'bucardo.warning.log', 'File to which warnings are appended'),
    ('syslog_facility', 'log_local1', 'log_local1', 'Facility of the system log'),
    ('default_email_from', 'nobody@example.com', 'nobody@example.com', 'Who mail is sent by'),
    ('default_email_to', 'nobody@example.com', 'nobody@example.com', 'Who mail is sent to'),
    ('default_email_host', 'localhost', 'localhost', 'Mail server'),
    ('default_email_port', '25', '25', 'Port of the mail server'),
    ('email_auth_user', '', '', 'User for the mail server'),
    ('email_auth_pass', '', '', 'Password for the mail server'),
    ('email_debug_file', '', '', 'File to which a copy of each mail is appended'),
    ('default_conflict_strategy', 'bucardo_latest', 'bucardo_latest', 'How conflicts are decided in syncs that say nothing'),
    ('flatfile_dir', '.', '.', 'Directory for flat file targets'),
    ('host_safety_check', '', '', 'The daemon runs only on a host of this name: exact, =a,b,c or ~regex'),
    ('isolation_level', 'repeatable read', 'repeatable read', 'Isolation level of the transactions on the databases'),
    ('piddir', '/var/run/bucardo', '/var/run/bucardo', 'Directory for PID, stop and lock files'),
    ('quick_delta_check', '1', '1', 'Ask each source first which tables have changes'),
    ('reason_file', 'bucardo.restart.reason.txt', 'bucardo.restart.reason.txt', 'File for the reasons of starts and stops'),
    ('semaphore_table', 'bucardo_status', 'bucardo_status', 'Collection in MongoDB that tells the state of a sync'),
    ('statement_chunk_size', '6000', '6000', 'How many keys one statement takes (accepted for old scripts)'),
    ('stats_script_url', 'http://www.bucardo.org/', 'http://www.bucardo.org/', 'Link in mails to the statistics page'),
    ('stopfile', 'fullstopbucardo', 'fullstopbucardo', 'Name of the file in piddir that stops the daemon'),
    ('autosync_ddl', 'newcol', 'newcol', 'Which changes of table definitions are replicated (reserved)'),
    ('batch_rows_max', '500000', '500000', 'How many rows one round takes at most, in whole transactions'),
    ('audit_pid', '0', '0', 'Note starts and ends of the daemon, its controllers and kids in the table audit_pid'),
    ('kid_abort_limit', '10', '10', 'How often a kid that fails is started again before it is stalled'),
    ('kid_abort_sleep', '1', '1', 'Older name of kid_restart_sleep'),
    ('ctl_checkabortedkids_time', '900', '900', 'How often in seconds a stalled kid is tried again'),
    ('ctl_pingtime', '600', '600', 'How often in seconds a controller checks the control database (accepted for old scripts)'),
    ('ctl_nothingfound_sleep', '0.2', '0.2', 'How long an idle controller sleeps (accepted for old scripts)'),
    ('kid_nothingfound_sleep', '0.3', '0.3', 'How long an idle kid sleeps (accepted for old scripts)'),
    ('kick_sleep', '0.2', '0.2', 'How long a kick sleeps while it waits (accepted for old scripts)'),
    ('max_select_clause', '500', '500', 'How many keys one SELECT takes (accepted for old scripts)'),
    ('max_delete_clause', '200', '200', 'How many keys one DELETE takes (accepted for old scripts)'),
    ('upsert_attempts', '3', '3', 'How often writing a row is tried (accepted for old scripts)'),
    ('pidfile', 'bucardo.mcp.pid', 'bucardo.mcp.pid', 'Name of the PID file (accepted for old scripts)'),
    ('log_conflict_details', '0', '0', 'Write the rows of each conflict to log_conflict_file'),
    ('conflict_keep', '2592000', '2592000', 'How many seconds a decided conflict can be listed; 0: they are only counted'),
    ('copy_workers', '4', '4', 'How many tables, or pieces of large ones, an initial copy writes to a target at once'),
    ('copy_chunk_mb', '128', '128', 'Large tables are copied initially in pieces of about this size, in megabytes'),
    ('copy_atomic_mb', '64', '64', 'Initial copies of less than this are made in one transaction, in megabytes'),
    ('vac_keep', '45', '45', 'How many seconds a change stays on its source after everybody has read it'),
    ('run_keep', '86400', '86400', 'How many seconds a run stays in syncrun before the VAC moves it to the freezer'),
    ('freezer_keep', '604800', '604800', 'How many seconds old runs stay in the freezer, in whole days; 0: for ever'),
    ('queue_rows_max', '0', '0', 'More changes than that, kept by a source for one target, are over the budget; 0: any'),
    ('queue_mb_max', '0', '0', 'The same in megabytes'),
    ('queue_age_max', '0', '0', 'The same in seconds: the age of the oldest change'),
    ('queue_policy', 'warn', 'warn', 'What is done about a target over the budget: warn, stall or copy'),
    ('log_format', 'text', 'text', 'How the lines of log files look: text or json'),
    ('email_tls', 'none', 'none', 'How the connection to the mail server is protected: none, starttls or tls'),
    ('email_auth_plain', '0', '0', 'Whether the password for the mail server may cross the network without TLS: 0 or 1'),
    ('email_hour_max', '10', '10', 'How many mails are sent in an hour at most; 0: no limit'),
    ('email_patience', '300', '300', 'How many seconds something may fail and be tried again before a mail tells of it'),
    ('worker_mb_max', '0', '0', 'How many megabytes the rounds of all kids may take together; who needs more waits; 0: no limit'),
    ('customcode_timeout', '30', '30', 'How many seconds one call of a custom code may take'),
    ('customcode_run_timeout', '300', '300', 'How many seconds all custom codes of one run may take together'),
    ('customcode_memory_mb', '64', '64', 'How many megabytes a custom code may take')
ON CONFLICT DO NOTHING;
