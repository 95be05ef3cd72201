-- The control database of version 4, made after the description of its tables.
CREATE SCHEMA bucardo;
CREATE TABLE bucardo.bucardo_config (
    setting text NOT NULL, value text NOT NULL, defval text, about text, type text, name text,
    cdate timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bucardo.db (
    name text NOT NULL PRIMARY KEY, dbhost text NULL DEFAULT '', dbport text NOT NULL DEFAULT 5432, dbname text NOT NULL,
    dbuser text NOT NULL, dbpass text, dbconn text NOT NULL DEFAULT '', dbservice text DEFAULT '', pgpass text,
    status text NOT NULL DEFAULT 'active', sourcelimit smallint NOT NULL DEFAULT 0,
    targetlimit smallint NOT NULL DEFAULT 0, server_side_prepares boolean NOT NULL DEFAULT true,
    cdate timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bucardo.dbgroup (name text NOT NULL PRIMARY KEY, about text, cdate timestamptz NOT NULL DEFAULT now());
CREATE TABLE bucardo.dbmap (
    db text NOT NULL REFERENCES bucardo.db (name), dbgroup text NOT NULL REFERENCES bucardo.dbgroup (name),
    priority smallint NOT NULL DEFAULT 0, cdate timestamptz NOT NULL DEFAULT now()
);
CREATE SEQUENCE bucardo.goat_id_seq;
CREATE TABLE bucardo.goat (
    id integer NOT NULL PRIMARY KEY DEFAULT nextval('bucardo.goat_id_seq'), db text NOT NULL REFERENCES bucardo.db (name),
    schemaname text NOT NULL, tablename text NOT NULL, reltype text NOT NULL DEFAULT 'table', pkey text, qpkey text,
    pkeytype text, has_delta boolean NOT NULL DEFAULT false, ping boolean, customselect text,
    makedelta boolean NOT NULL DEFAULT false, rebuild_index smallint NOT NULL DEFAULT 0, ghost boolean NOT NULL DEFAULT false,
    analyze_after_copy boolean NOT NULL DEFAULT true, strict_checking boolean NOT NULL DEFAULT true,
    standard_conflict text, delta_bypass boolean NOT NULL DEFAULT false, cdate timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bucardo.herd (name text NOT NULL PRIMARY KEY, about text, cdate timestamptz NOT NULL DEFAULT now());
CREATE TABLE bucardo.herdmap (
    herd text NOT NULL REFERENCES bucardo.herd (name), goat integer NOT NULL REFERENCES bucardo.goat (id),
    priority smallint NOT NULL DEFAULT 0, cdate timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bucardo.sync (
    name text NOT NULL PRIMARY KEY, source text NOT NULL REFERENCES bucardo.herd (name),
    targetdb text REFERENCES bucardo.db (name), targetgroup text REFERENCES bucardo.dbgroup (name), synctype text NOT NULL,
    stayalive boolean NOT NULL DEFAULT true, kidsalive boolean NOT NULL DEFAULT true,
    usecustomselect boolean NOT NULL DEFAULT false, copytype text NOT NULL DEFAULT 'copy',
    copyextra text NOT NULL DEFAULT '', deletemethod text NOT NULL DEFAULT 'delete', limitdbs smallint NOT NULL DEFAULT 0,
    ping boolean NOT NULL DEFAULT true, do_listen boolean NOT NULL DEFAULT false, checktime interval,
    status text NOT NULL DEFAULT 'active', makedelta boolean NOT NULL DEFAULT false,
    rebuild_index smallint NOT NULL DEFAULT 0, priority smallint NOT NULL DEFAULT 0,
    analyze_after_copy boolean NOT NULL DEFAULT true, strict_checking boolean NOT NULL DEFAULT true,
    overdue interval NOT NULL DEFAULT '0 seconds', expired interval NOT NULL DEFAULT '0 seconds',
    track_rates boolean NOT NULL DEFAULT false, onetimecopy smallint NOT NULL DEFAULT 0, lifetime interval,
    maxkicks integer NOT NULL DEFAULT 0, txnmode text NOT NULL DEFAULT 'SERIALIZABLE',
    cdate timestamptz NOT NULL DEFAULT now()
);
CREATE SEQUENCE bucardo.customcode_id_seq;
CREATE TABLE bucardo.customcode (
    id integer NOT NULL PRIMARY KEY DEFAULT nextval('bucardo.customcode_id_seq'), name text NOT NULL UNIQUE, about text,
    whenrun text NOT NULL, getdbh boolean NOT NULL DEFAULT true, getrows boolean NOT NULL DEFAULT false,
    trigrules boolean NOT NULL DEFAULT false, src_code text NOT NULL, cdate timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bucardo.q (sync text, sourcedb text, targetdb text, ppid integer NOT NULL, cdate timestamptz DEFAULT now());
CREATE SCHEMA freezer;
CREATE TABLE freezer.master_q AS SELECT * FROM bucardo.q;
CREATE FUNCTION bucardo.validate_sync(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
