-- synctype, targetdb and targetgroup are filled for every sync, also for one that is described by its group of
-- databases: scripts of versions 3 and 4 read them.

-- A database that is removed leaves its groups, as in version 5, and then it is no target any more.
ALTER TABLE bucardo.sync DROP CONSTRAINT IF EXISTS sync_targetdb_fk;
ALTER TABLE bucardo.sync ADD CONSTRAINT sync_targetdb_fk
    FOREIGN KEY (targetdb) REFERENCES bucardo.db (name) ON UPDATE CASCADE ON DELETE SET NULL;

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

UPDATE bucardo.sync SET dbs = dbs WHERE dbs IS NOT NULL;
