-- Whether keys whose rows a target refuses wait there as dead letters, so that the rest of their table goes on.

ALTER TABLE bucardo.sync ADD COLUMN IF NOT EXISTS deadletter boolean NOT NULL DEFAULT false;
