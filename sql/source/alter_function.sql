-- What PostgreSQL refuses while a trigger of ours reads the column: to change the type of a key column. Safe to run again.

CREATE OR REPLACE FUNCTION bucardo.alter_table(tbl regclass, action text) RETURNS void LANGUAGE plpgsql AS $$
-- ALTER TABLE, with the triggers that read key columns put aside meanwhile, and our tables fitted to the new types: all in
-- the transaction of the caller, and with the caller's rights and search path. No change slips between.
DECLARE
    one     record;
    making  text;
    makings text[] := '{}';
    tables  oid[];
BEGIN
    EXECUTE pg_catalog.format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', tbl);
    WITH RECURSIVE tree AS (
        SELECT tbl::oid AS relation
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.relation
    )
    SELECT pg_catalog.array_agg(relation) INTO tables FROM tree;
    FOR one IN
        SELECT pg_catalog.pg_get_triggerdef(t.oid) AS text,
               pg_catalog.format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) AS dropping,
               CASE t.tgenabled
                   WHEN 'D' THEN pg_catalog.format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname)
                   WHEN 'A' THEN pg_catalog.format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.tgrelid::regclass, t.tgname)
                   WHEN 'R' THEN pg_catalog.format('ALTER TABLE %s ENABLE REPLICA TRIGGER %I', t.tgrelid::regclass, t.tgname)
               END AS enabling
        FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
        WHERE t.tgrelid = ANY (tables) AND t.tgqual IS NOT NULL AND NOT t.tgisinternal
          AND p.pronamespace = 'bucardo'::regnamespace
    LOOP
        makings := makings || one.text;
        IF one.enabling IS NOT NULL THEN
            makings := makings || one.enabling;
        END IF;
        EXECUTE one.dropping;
    END LOOP;
    EXECUTE pg_catalog.format('ALTER TABLE %s %s', tbl, action);
    FOR one IN
        SELECT pg_catalog.format('ALTER TABLE bucardo.%I ALTER COLUMN %I TYPE %s',
                                 c.deltaname, d.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)) AS fitting
        FROM bucardo.captured AS c,
             pg_catalog.unnest(c.key_columns) WITH ORDINALITY AS k (name, place),
             pg_catalog.pg_attribute AS a,
             pg_catalog.pg_attribute AS d
        WHERE c.relation = ANY (tables)
          AND a.attrelid = c.relation AND a.attname = k.name AND NOT a.attisdropped
          AND d.attrelid = pg_catalog.to_regclass(pg_catalog.format('bucardo.%I', c.deltaname)) AND d.attnum = k.place
          AND (a.atttypid, a.atttypmod) <> (d.atttypid, d.atttypmod)
    LOOP
        EXECUTE one.fitting;
    END LOOP;
    FOREACH making IN ARRAY makings LOOP
        EXECUTE making;
    END LOOP;
END $$;
