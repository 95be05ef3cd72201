-- goat.key_columns: the key columns as a list, which any column name survives; goat.pkey stays for scripts.
-- sync.copy_request: how many whole copies were asked for, so that a target knows whether it has made the last one.

ALTER TABLE bucardo.goat ADD COLUMN IF NOT EXISTS key_columns text[] NOT NULL DEFAULT '{}';
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS copy_request bigint NOT NULL DEFAULT 0;

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
