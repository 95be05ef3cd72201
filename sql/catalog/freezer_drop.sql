-- Drops the days of the freezer that ended longer ago than that, and deletes rates, and lives of processes (audit_pid),
-- that are as old.
--   $1 float8  seconds
WITH rates AS (
    DELETE FROM bucardo.bucardo_rate WHERE slavecommit < now() - make_interval(secs => $1::float8)
), lives AS (
    DELETE FROM bucardo.audit_pid WHERE killdate < now() - make_interval(secs => $1::float8)
)
SELECT bucardo.drop_child_q(make_interval(secs => $1::float8)) AS dropped
