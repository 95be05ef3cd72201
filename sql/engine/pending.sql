-- One branch for each table: its place, and the size of its delta table, if it has unread changes.
--   {place} {delta} {literal}
SELECT {place} AS place, pg_relation_size({literal}::regclass) AS bytes
WHERE EXISTS (
    SELECT FROM {delta} AS d
    WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
      AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot)))
