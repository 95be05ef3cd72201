-- do_listen: what is said on the sources kicks the sync, although its own changes do not. limitdbs: so many databases
-- are written to at a time; 0: all.

ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS do_listen boolean NOT NULL DEFAULT false;
ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS limitdbs smallint NOT NULL DEFAULT 0;
ALTER TABLE bucardo.sync DROP CONSTRAINT IF EXISTS sync_limitdbs_valid;
ALTER TABLE bucardo.sync ADD CONSTRAINT sync_limitdbs_valid CHECK (limitdbs >= 0);
