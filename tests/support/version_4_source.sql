-- What version 4 has in a source.
CREATE SCHEMA bucardo;
CREATE TABLE bucardo.bucardo_delta (tablename oid NOT NULL, rowid text NOT NULL, txntime timestamptz NOT NULL DEFAULT now(), rowid2 text);
CREATE TABLE bucardo.bucardo_track (txntime timestamptz NOT NULL, tablename oid NOT NULL, targetdb text NOT NULL);
CREATE TABLE bucardo.bucardo_delta_targets (tablename oid NOT NULL, targetdb text NOT NULL, cdate timestamptz DEFAULT now());
CREATE TABLE bucardo.bucardo_truncate_trigger (
    tablename oid NOT NULL, sname text NOT NULL, tname text NOT NULL, sync text NOT NULL, replicated timestamptz,
    cdate timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION bucardo.bucardo_add_delta_id() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO bucardo.bucardo_delta (tablename, rowid)
    VALUES (TG_RELID, CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END::text);
    RETURN NULL;
END $$;
CREATE FUNCTION bucardo.bad_odd() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO bucardo.bucardo_delta (tablename, rowid, rowid2) VALUES (TG_RELID, encode(NEW."Key 1", 'base64'), NEW.k2);
    RETURN NULL;
END $$;
CREATE FUNCTION bucardo.bucardo_triggerkick_to_b() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'NOTIFY "bucardo_kick_sync_to_b"';
    RETURN NULL;
END $$;
CREATE TRIGGER bucardo_add_delta AFTER INSERT OR UPDATE OR DELETE ON public.orders
    FOR EACH ROW EXECUTE PROCEDURE bucardo.bucardo_add_delta_id();
CREATE TRIGGER bucardo_add_delta AFTER INSERT OR UPDATE OR DELETE ON public."Odd.name"
    FOR EACH ROW EXECUTE PROCEDURE bucardo.bad_odd();
CREATE TRIGGER bucardo_triggerkick_to_b AFTER INSERT OR UPDATE OR DELETE ON public.orders
    FOR EACH STATEMENT EXECUTE PROCEDURE bucardo.bucardo_triggerkick_to_b();
