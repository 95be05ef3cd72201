-- One branch for each table: its place, the size of its delta table, and whether there is news, if it has unread changes.
-- What is no news moves the position only. A delta table with another file than the snapshot shows may have any news:
-- whoever reads it starts over.
--   {place} {delta} {literal} {moved} {readable}
SELECT {place} AS place, pg_relation_size({literal}::regclass) AS bytes,
       EXISTS (
    SELECT FROM {delta} AS d
    WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
      AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
      AND {readable})
       OR {moved} AS news
WHERE EXISTS (
    SELECT FROM {delta} AS d
    WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
      AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot)))
   OR {moved}
