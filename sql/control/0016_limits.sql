-- sourcelimit and targetlimit: so many KIDs read or write there at a time; 0: all.

ALTER TABLE bucardo.db ADD COLUMN IF NOT EXISTS sourcelimit smallint NOT NULL DEFAULT 0;
ALTER TABLE bucardo.db ADD COLUMN IF NOT EXISTS targetlimit smallint NOT NULL DEFAULT 0;
ALTER TABLE bucardo.db DROP CONSTRAINT IF EXISTS db_limits_valid;
ALTER TABLE bucardo.db ADD CONSTRAINT db_limits_valid CHECK (sourcelimit >= 0 AND targetlimit >= 0);
