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
