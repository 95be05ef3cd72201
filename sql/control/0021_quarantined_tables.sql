-- A table that stays behind while the others go on is a line of its own among the states, and so is how many sessions the
-- daemon has open on a database.

ALTER TABLE bucardo.live ADD COLUMN IF NOT EXISTS relation text NOT NULL DEFAULT '';
ALTER TABLE bucardo.live ADD COLUMN IF NOT EXISTS connections integer NULL;
ALTER TABLE bucardo.live DROP CONSTRAINT IF EXISTS live_pk;
ALTER TABLE bucardo.live ADD CONSTRAINT live_pk PRIMARY KEY (kind, sync, source, db, relation);
ALTER TABLE bucardo.live DROP CONSTRAINT IF EXISTS live_kind_valid;
ALTER TABLE bucardo.live ADD CONSTRAINT live_kind_valid CHECK (kind IN ('mcp', 'vac', 'sync', 'kid', 'db', 'table'));

CREATE OR REPLACE VIEW bucardo.state AS
SELECT l.kind, l.sync, l.source, l.db, l.id,
       CASE WHEN d.runs THEN l.state ELSE 'down' END AS state,
       CASE WHEN d.runs THEN l.since END AS since,
       CASE WHEN d.runs THEN l.why ELSE 'the daemon does not run' END AS why,
       CASE WHEN d.runs THEN l.hint ELSE 'bucardo start' END AS hint,
       CASE WHEN d.runs THEN l.next_try END AS next_try,
       CASE WHEN d.runs THEN l.doing END AS doing,
       l.relation,
       CASE WHEN d.runs THEN l.connections END AS connections
FROM bucardo.live AS l, bucardo.daemon AS d;
