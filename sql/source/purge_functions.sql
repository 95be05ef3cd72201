-- What cron jobs of earlier versions call in every source: bucardo_purge_delta and bucardo_compress_delta. They run with
-- the rights of the replication role, know what has not been read, and keep out of the VAC's way. Safe to run again.
--   {floors} how far each table may be purged: purge_floors.sql, as the VAC asks

CREATE OR REPLACE FUNCTION bucardo.bucardo_purge_delta(keep interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Deletes the changes that every reader has read and that are older than the interval; says how many.
DECLARE
    merging text[] := '{}';
    one     record;
    gone    bigint;
    tables  bigint := 0;
    total   bigint := 0;
BEGIN
    IF keep IS NULL THEN
        RAISE EXCEPTION 'bucardo_purge_delta needs an interval: changes younger than that stay';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtext('bucardo purge')) THEN
        RAISE NOTICE 'Another purge of this database is at work';
        RETURN 'Tables processed: 0 Rows deleted from bucardo_delta: 0';
    END IF;
    -- How far a sync with several sources may be purged, only all of them together can say.
    IF to_regclass('bucardo.position') IS NOT NULL THEN
        EXECUTE 'SELECT coalesce(array_agg(DISTINCT sync), $1) FROM bucardo.position' INTO merging USING merging;
    END IF;
    FOR one IN
        SELECT f.schemaname, f.tablename, format('bucardo.%I', f.deltaname) AS delta, f.positions, f.ceiling,
               f.syncs && merging AS merged
        FROM (
{floors}
        ) AS f
    LOOP
        IF one.merged THEN
            RAISE NOTICE 'Table %.% is left to the VAC: it is in a sync with several sources',
                one.schemaname, one.tablename;
            CONTINUE;
        END IF;
        EXECUTE format('DELETE FROM %s AS d WHERE d.txid < $1 AND d.txntime < now() - $2 AND NOT EXISTS '
            '(SELECT FROM unnest($3) AS p (position) '
            'WHERE NOT txid_visible_in_snapshot(d.txid, p.position::txid_snapshot))', one.delta)
            USING one.ceiling, keep, one.positions;
        GET DIAGNOSTICS gone = ROW_COUNT;
        tables := tables + 1;
        total := total + gone;
        IF gone > 0 THEN
            RAISE NOTICE 'Rows deleted of table %.%: %', one.schemaname, one.tablename, gone;
        END IF;
    END LOOP;
    RETURN format('Tables processed: %s Rows deleted from bucardo_delta: %s', tables, total);
END $$;

CREATE OR REPLACE FUNCTION bucardo.bucardo_purge_delta(keep text) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT bucardo.bucardo_purge_delta($1::interval)
$$;

-- Snapshots that were taken between two transactions prove which of them came first.
CREATE TABLE IF NOT EXISTS bucardo.compress_mark (
    snapshot text        NOT NULL,
    cdate    timestamptz NOT NULL DEFAULT now()
);

CREATE OR REPLACE FUNCTION bucardo.bucardo_compress_delta(relation oid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Deletes changes of a key that a later change of the same key tells as well: one of the same transaction, and one of
-- a transaction that began after the earlier one had ended. No reader, wherever it is, can then have read the later
-- one and not the earlier one. That the earlier one had ended is known from the snapshots of former calls.
DECLARE
    marks text[];
    keys  text;
    one   record;
    gone  bigint := 0;
BEGIN
    SELECT c.schemaname, c.tablename, format('bucardo.%I', c.deltaname) AS delta,
           format('bucardo.%I', c.deltaname)::regclass AS id,
           EXISTS (SELECT FROM bucardo.captured_sync AS s WHERE s.captured = c.id) AS wanted
    INTO one
    FROM bucardo.captured AS c WHERE c.relation = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'No changes are captured of table %', coalesce($1::regclass::text, 'NULL');
    END IF;
    IF to_regclass('bucardo.position') IS NOT NULL THEN
        EXECUTE 'SELECT NOT EXISTS (SELECT FROM bucardo.position AS p JOIN bucardo.captured_sync AS s ON s.sync = p.sync '
            'JOIN bucardo.captured AS c ON c.id = s.captured WHERE c.relation = $1)' INTO one.wanted USING $1;
    END IF;
    IF NOT one.wanted THEN
        -- A merge compares the versions of a key that each source knows: all of them count.
        RAISE NOTICE 'Table %.% is left as it is: it is in a sync with several sources, or in none',
            one.schemaname, one.tablename;
        RETURN 'Rows deleted from bucardo_delta: 0';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtext('bucardo purge')) THEN
        RAISE NOTICE 'A purge of this database is at work';
        RETURN 'Rows deleted from bucardo_delta: 0';
    END IF;
    SELECT coalesce(array_agg(m.snapshot), '{}') INTO marks FROM bucardo.compress_mark AS m;
    SELECT string_agg(quote_ident(a.attname), ', ') INTO keys
    FROM pg_attribute AS a
    WHERE a.attrelid = one.id AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname NOT IN ('txntime', 'txid', 'origin');
    EXECUTE format('DELETE FROM %1$s WHERE ctid = ANY (ARRAY('
        'SELECT n.place FROM (SELECT d.ctid AS place, d.txid, lead(d.txid) OVER later AS next, '
        'max(d.txid) OVER (PARTITION BY %2$s) AS last FROM %1$s AS d '
        'WHERE d.origin IS NULL WINDOW later AS (PARTITION BY %2$s ORDER BY d.txid, d.ctid)) AS n '
        'WHERE n.next = n.txid OR EXISTS (SELECT FROM unnest($1) AS m (mark) '
        'WHERE txid_visible_in_snapshot(n.txid, m.mark::txid_snapshot) '
        'AND n.last >= txid_snapshot_xmax(m.mark::txid_snapshot))))', one.delta, keys)
        USING marks;
    GET DIAGNOSTICS gone = ROW_COUNT;
    INSERT INTO bucardo.compress_mark (snapshot)
    SELECT s.now FROM (SELECT txid_current_snapshot()::text AS now) AS s
    WHERE s.now <> ALL (marks) AND NOT EXISTS (SELECT FROM bucardo.compress_mark AS m WHERE m.cdate = now());
    -- The newest ones will do: they tell apart what is not yet compressed.
    DELETE FROM bucardo.compress_mark WHERE cdate < (
        SELECT min(l.cdate) FROM (SELECT m.cdate FROM bucardo.compress_mark AS m ORDER BY m.cdate DESC LIMIT 50) AS l);
    RETURN format('Rows deleted from bucardo_delta: %s', gone);
END $$;

CREATE OR REPLACE FUNCTION bucardo.bucardo_compress_delta(schemaname text, tablename text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found oid;
BEGIN
    SELECT c.relation INTO found FROM bucardo.captured AS c WHERE c.schemaname = $1 AND c.tablename = $2;
    IF found IS NULL THEN
        RAISE EXCEPTION 'No changes are captured of table %.%', $1, $2;
    END IF;
    RETURN bucardo.bucardo_compress_delta(found);
END $$;

CREATE OR REPLACE FUNCTION bucardo.bucardo_compress_delta(tablename text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The name may carry its schema.
DECLARE
    found oid[];
BEGIN
    SELECT array_agg(c.relation) INTO found FROM bucardo.captured AS c
    WHERE $1 IN (c.tablename, c.schemaname || '.' || c.tablename);
    IF found IS NULL THEN
        RAISE EXCEPTION 'No changes are captured of table %', $1;
    END IF;
    IF cardinality(found) > 1 THEN
        RAISE EXCEPTION 'There are several tables named %: give the schema, too', $1;
    END IF;
    RETURN bucardo.bucardo_compress_delta(found[1]);
END $$;

CREATE OR REPLACE FUNCTION bucardo.bucardo_compress_delta() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- All tables, one after the other.
DECLARE
    one   record;
    said  text;
    total bigint := 0;
BEGIN
    FOR one IN SELECT c.relation FROM bucardo.captured AS c ORDER BY c.id LOOP
        said := bucardo.bucardo_compress_delta(one.relation);
        total := total + substring(said FROM '[0-9]+$')::bigint;
    END LOOP;
    RETURN format('Rows deleted from bucardo_delta: %s', total);
END $$;
