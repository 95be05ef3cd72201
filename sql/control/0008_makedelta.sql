-- Which changes that a sync brings are news for other syncs (makedelta), for a sync and for a database of a group; which
-- lock a round takes on its tables.

ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS makedelta boolean NOT NULL DEFAULT false;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS lock_table_force text NULL;
ALTER TABLE bucardo.dbmap ADD COLUMN IF NOT EXISTS makedelta boolean NULL;
