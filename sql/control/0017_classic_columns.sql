-- The columns of versions 3 and 4, which scripts and manuals write by SQL: triggers turn them into those of today. One
-- truth: relgroup (herd), group of databases (dbs) with its roles, autokick, conflict_strategy, isolation_level.

ALTER TABLE bucardo.goat ADD COLUMN IF NOT EXISTS ping boolean NULL;
ALTER TABLE bucardo.goat ADD COLUMN IF NOT EXISTS standard_conflict text NULL;

ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS source text NULL;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS targetdb text NULL;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS targetgroup text NULL;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS synctype text NULL;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS ping boolean NULL;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS standard_conflict text NULL;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS txnmode text NULL;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS usecustomselect boolean NOT NULL DEFAULT false;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS copytype text NOT NULL DEFAULT 'copy';
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS disable_triggers text NULL;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS disable_rules text NULL;
ALTER TABLE bucardo.sync DROP CONSTRAINT IF EXISTS sync_synctype_valid;
ALTER TABLE bucardo.sync ADD CONSTRAINT sync_synctype_valid CHECK (synctype IN ('pushdelta', 'fullcopy', 'swap'));
ALTER TABLE bucardo.sync DROP CONSTRAINT IF EXISTS sync_targetdb_fk;
ALTER TABLE bucardo.sync ADD CONSTRAINT sync_targetdb_fk
    FOREIGN KEY (targetdb) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE RESTRICT;
ALTER TABLE bucardo.sync DROP CONSTRAINT IF EXISTS sync_targetgroup_fk;
ALTER TABLE bucardo.sync ADD CONSTRAINT sync_targetgroup_fk
    FOREIGN KEY (targetgroup) REFERENCES bucardo.dbgroup (name) ON UPDATE CASCADE ON DELETE RESTRICT;

ALTER TABLE bucardo.customcode ADD COLUMN IF NOT EXISTS getrows boolean NOT NULL DEFAULT false;
ALTER TABLE bucardo.customcode ADD COLUMN IF NOT EXISTS trigrules boolean NOT NULL DEFAULT false;

ALTER TABLE bucardo.bucardo_config ADD COLUMN IF NOT EXISTS value text NULL;

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

-- Tables: the key as a list, whoever wrote it as text; ping and standard_conflict are autokick and conflict_strategy.
CREATE OR REPLACE FUNCTION bucardo.classic_goat() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    is_new CONSTANT boolean := TG_OP = 'INSERT';
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
    IF NEW.reltype = 'sequence' THEN
        -- Among several sources the value that is furthest along counts.
        IF NEW.standard_conflict NOT IN ('source', 'target', 'skip', 'lowest', 'highest') THEN
            RAISE EXCEPTION 'Invalid standard_conflict "%" for sequence %.%',
                NEW.standard_conflict, NEW.schemaname, NEW.tablename
                USING HINT = 'It is one of source, target, skip, lowest, highest';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.standard_conflict IS NOT NULL AND (is_new AND coalesce(NEW.conflict_strategy, '') = '')
       OR NOT is_new AND NEW.standard_conflict IS DISTINCT FROM OLD.standard_conflict
          AND NEW.conflict_strategy IS NOT DISTINCT FROM OLD.conflict_strategy THEN
        IF NEW.standard_conflict NOT IN ('source', 'target', 'skip', 'random', 'latest', 'abort') THEN
            RAISE EXCEPTION 'Invalid standard_conflict "%" for table %.%',
                NEW.standard_conflict, NEW.schemaname, NEW.tablename
                USING HINT = 'It is one of source, target, skip, random, latest, abort; '
                             'conflict_strategy takes names of databases, too';
        END IF;
        NEW.conflict_strategy := NEW.standard_conflict;
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

-- Syncs: source, targetdb, targetgroup and synctype make a relgroup and a group of databases.
CREATE OR REPLACE FUNCTION bucardo.classic_sync() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    is_new CONSTANT boolean := TG_OP = 'INSERT';
    home text;
    targets text[];
    wanted text;
    number integer := 1;
BEGIN
    IF is_new AND NEW.herd IS NULL
       OR NOT is_new AND NEW.source IS DISTINCT FROM OLD.source AND NEW.herd IS NOT DISTINCT FROM OLD.herd THEN
        NEW.herd := NEW.source;
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
    IF NEW.targetdb IS NULL AND NEW.targetgroup IS NULL THEN
        IF NEW.synctype IS NOT NULL AND NEW.dbs IS NULL THEN
            RAISE EXCEPTION 'Sync "%" has no target', NEW.name USING HINT = 'give targetdb, targetgroup, or dbs';
        END IF;
        NEW.synctype := NULL;
        RETURN NEW;
    END IF;
    IF NOT is_new AND NEW.dbs IS DISTINCT FROM OLD.dbs AND NEW.targetdb IS NOT DISTINCT FROM OLD.targetdb
       AND NEW.targetgroup IS NOT DISTINCT FROM OLD.targetgroup THEN
        -- Described by its group of databases from now on, unless that group was only renamed.
        IF EXISTS (SELECT 1 FROM bucardo.dbgroup AS g WHERE g.name = OLD.dbs) THEN
            NEW.targetdb := NULL;
            NEW.targetgroup := NULL;
            NEW.synctype := NULL;
        END IF;
        RETURN NEW;
    END IF;
    NEW.synctype := coalesce(lower(NEW.synctype), 'pushdelta');
    IF NOT is_new AND NEW.synctype IS NOT DISTINCT FROM OLD.synctype
       AND (NEW.herd IS NOT DISTINCT FROM OLD.herd
            OR NOT EXISTS (SELECT 1 FROM bucardo.herd AS h WHERE h.name = OLD.herd))
       AND (NEW.targetdb IS NOT DISTINCT FROM OLD.targetdb
            OR NOT EXISTS (SELECT 1 FROM bucardo.db AS d WHERE d.name = OLD.targetdb))
       AND (NEW.targetgroup IS NOT DISTINCT FROM OLD.targetgroup
            OR NOT EXISTS (SELECT 1 FROM bucardo.dbgroup AS g WHERE g.name = OLD.targetgroup)) THEN
        -- No other ones, at most other names for them.
        RETURN NEW;
    END IF;
    IF NEW.targetdb IS NOT NULL AND NEW.targetgroup IS NOT NULL THEN
        RAISE EXCEPTION 'Sync "%" cannot have both targetdb and targetgroup', NEW.name;
    END IF;
    IF is_new AND NEW.dbs IS NOT NULL THEN
        RAISE EXCEPTION 'Sync "%" cannot have a target beside the group of databases "%"', NEW.name, NEW.dbs
            USING HINT = 'give targetdb or targetgroup, or else dbs';
    END IF;
    IF NEW.synctype NOT IN ('pushdelta', 'fullcopy', 'swap') THEN
        RAISE EXCEPTION 'Invalid synctype "%" of sync "%"', NEW.synctype, NEW.name
            USING HINT = 'It is one of pushdelta, fullcopy, swap';
    END IF;
    IF NEW.synctype = 'swap' AND NEW.targetdb IS NULL THEN
        RAISE EXCEPTION 'Sync "%" is a swap: it needs a targetdb', NEW.name
            USING HINT = 'for more databases give dbs, a group with several sources';
    END IF;
    IF NEW.herd IS NULL THEN
        RAISE EXCEPTION 'Sync "%" has no source', NEW.name USING HINT = 'source is the name of a relgroup';
    END IF;
    SELECT min(g.db) INTO home
      FROM bucardo.herdmap AS m JOIN bucardo.goat AS g ON g.id = m.goat
     WHERE m.herd = NEW.herd;
    IF home IS NULL THEN
        RAISE EXCEPTION 'The source "%" of sync "%" is no relgroup with tables', NEW.herd, NEW.name
            USING HINT = 'its tables tell which database is the source: put them into it first (herd, herdmap)';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM bucardo.db AS d WHERE d.name = NEW.targetdb)
       AND NOT EXISTS (SELECT 1 FROM bucardo.dbgroup AS g WHERE g.name = NEW.targetgroup) THEN
        RAISE EXCEPTION 'The target "%" of sync "%" does not exist', coalesce(NEW.targetdb, NEW.targetgroup), NEW.name
            USING HINT = 'targetdb is the name of a database (db), targetgroup that of a group of them (dbgroup)';
    END IF;
    IF NEW.targetdb IS NOT NULL THEN
        targets := ARRAY[NEW.targetdb];
    ELSE
        targets := ARRAY(SELECT m.db FROM bucardo.dbmap AS m WHERE m.dbgroup = NEW.targetgroup);
    END IF;
    IF home = ANY (targets) THEN
        RAISE EXCEPTION 'Database "%" is the source and a target of sync "%"', home, NEW.name;
    END IF;
    -- A group of its own: changes of other syncs do not reach it.
    IF NOT is_new AND NEW.dbs IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM bucardo.sync AS s WHERE s.dbs = NEW.dbs AND s.name <> OLD.name) THEN
        wanted := NEW.dbs;
        DELETE FROM bucardo.dbmap AS m WHERE m.dbgroup = wanted;
    ELSE
        wanted := NEW.name;
        WHILE EXISTS (SELECT 1 FROM bucardo.dbgroup AS g WHERE g.name = wanted) LOOP
            number := number + 1;
            wanted := NEW.name || '_' || number;
        END LOOP;
        INSERT INTO bucardo.dbgroup (name) VALUES (wanted);
    END IF;
    -- Of a swap, the database of the herd is the first of the two sources.
    INSERT INTO bucardo.dbmap (db, dbgroup, role, priority)
    VALUES (home, wanted, 'source', CASE NEW.synctype WHEN 'swap' THEN 1 ELSE 0 END);
    INSERT INTO bucardo.dbmap (db, dbgroup, role, priority)
    SELECT t.db, wanted, bucardo.role_of(NEW.synctype), coalesce(m.priority, 0)
      FROM unnest(targets) AS t(db)
      LEFT JOIN bucardo.dbmap AS m ON m.dbgroup = NEW.targetgroup AND m.db = t.db;
    NEW.dbs := wanted;
    IF is_new AND NEW.synctype = 'fullcopy' THEN
        NEW.stayalive := false;
        NEW.kidsalive := false;
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

-- Rows of before: no value changes but the new columns, which follow.
UPDATE bucardo.sync SET source = herd WHERE source IS DISTINCT FROM herd;
UPDATE bucardo.sync SET ping = autokick WHERE ping IS DISTINCT FROM autokick;
UPDATE bucardo.goat SET ping = autokick WHERE ping IS DISTINCT FROM autokick;
UPDATE bucardo.goat SET standard_conflict = bucardo.standard_conflict_of(conflict_strategy)
 WHERE reltype = 'table' AND standard_conflict IS DISTINCT FROM bucardo.standard_conflict_of(conflict_strategy);
