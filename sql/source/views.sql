-- What scripts look at in every source: changes and tracks as versions 3, 4 and 5 showed them. Views over functions, so
-- that no delta table has anything that hangs on it. Safe to run again.

-- The group of databases of each sync, by which version 5 names who has read something.
CREATE TABLE IF NOT EXISTS bucardo.sync_group (
    sync    text NOT NULL PRIMARY KEY,
    dbgroup text NOT NULL
);

-- Version 5: the transactions whose changes of a table all readers of a sync have read. One row each, as "dbgroup NAME".
--   wanted  the number of the captured table
CREATE OR REPLACE FUNCTION bucardo.bucardo_track_of(wanted integer)
RETURNS TABLE (txntime timestamptz, target text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    delta text := (SELECT format('bucardo.%I', c.deltaname) FROM bucardo.captured AS c WHERE c.id = wanted);
BEGIN
    IF delta IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT d.txntime, ''dbgroup '' || coalesce(g.dbgroup, s.sync) '
        'FROM (SELECT DISTINCT r.txntime, r.txid FROM %s AS r) AS d '
        'JOIN bucardo.captured_sync AS s ON s.captured = $1 '
        'LEFT JOIN bucardo.sync_group AS g ON g.sync = s.sync '
        'WHERE NOT EXISTS (SELECT FROM bucardo.track AS t WHERE t.sync = s.sync AND t.round NOT IN (-2, -3) '
        'AND NOT txid_visible_in_snapshot(d.txid, t.snapshot::txid_snapshot))', delta)
    USING wanted;
END $$;

-- Versions 3 and 4: all changes in one table, keys as text: for those who may read the view.
CREATE OR REPLACE FUNCTION bucardo.bucardo_delta_all()
RETURNS TABLE (tablename oid, rowid text, txntime timestamptz, rowid2 text, rowid3 text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one   record;
    names text[];
BEGIN
    IF NOT has_table_privilege(session_user, 'bucardo.bucardo_delta', 'SELECT') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied for view bucardo.bucardo_delta: "%s" may not read it', session_user),
            HINT = format('GRANT SELECT ON bucardo.bucardo_delta TO %I', session_user);
    END IF;
    FOR one IN
        SELECT c.relation, format('bucardo.%I', c.deltaname) AS delta FROM bucardo.captured AS c ORDER BY c.id
    LOOP
        -- The key columns come first.
        names := ARRAY(
            SELECT CASE WHEN a.atttypid = 'bytea'::regtype THEN format('encode(d.%I, ''base64'')', a.attname)
                        ELSE format('d.%I::text', a.attname) END
            FROM pg_attribute AS a
            WHERE a.attrelid = one.delta::regclass AND a.attnum > 0 AND NOT a.attisdropped
              AND a.attname NOT IN ('txntime', 'txid', 'origin')
            ORDER BY a.attnum
        );
        RETURN QUERY EXECUTE format('SELECT $1, %s, d.txntime, %s, %s FROM %s AS d',
            names[1], coalesce(names[2], 'NULL::text'), coalesce(names[3], 'NULL::text'), one.delta)
        USING one.relation;
    END LOOP;
END $$;

-- Versions 3 and 4: which transactions each reader has read, table by table.
CREATE OR REPLACE FUNCTION bucardo.bucardo_track_all()
RETURNS TABLE (txntime timestamptz, tablename oid, targetdb text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT c.id, c.relation, format('bucardo.%I', c.deltaname) AS delta FROM bucardo.captured AS c ORDER BY c.id
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT DISTINCT d.txntime, $2, t.target '
            'FROM (SELECT DISTINCT r.txntime, r.txid FROM %s AS r) AS d '
            'JOIN bucardo.captured_sync AS s ON s.captured = $1 '
            'JOIN bucardo.track AS t ON t.sync = s.sync AND t.round NOT IN (-2, -3) '
            'AND txid_visible_in_snapshot(d.txid, t.snapshot::txid_snapshot)', one.delta)
        USING one.id, one.relation;
    END LOOP;
END $$;

CREATE OR REPLACE VIEW bucardo.bucardo_delta AS SELECT * FROM bucardo.bucardo_delta_all();
CREATE OR REPLACE VIEW bucardo.bucardo_track AS SELECT * FROM bucardo.bucardo_track_all();

-- Version 5: the names of what belongs to a table, and who reads it.
CREATE OR REPLACE VIEW bucardo.bucardo_delta_names AS
SELECT s.sync, format('%I.%I', c.schemaname, c.tablename) AS tablename, quote_ident(c.deltaname) AS deltaname,
       quote_ident('track_' || substr(c.deltaname, 7)) AS trackname, c.cdate
FROM bucardo.captured AS c
JOIN bucardo.captured_sync AS s ON s.captured = c.id;
CREATE OR REPLACE VIEW bucardo.bucardo_delta_targets AS
SELECT DISTINCT c.relation AS tablename, 'dbgroup ' || coalesce(g.dbgroup, s.sync) AS target, c.cdate
FROM bucardo.captured AS c
JOIN bucardo.captured_sync AS s ON s.captured = c.id
LEFT JOIN bucardo.sync_group AS g ON g.sync = s.sync
