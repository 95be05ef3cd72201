-- One branch for each table: its place, the size of its delta table, and how many changes somebody has not read (up to
-- a limit), if there are any. None of them: what is unread is no news for this sync, and only moves the positions. A delta
-- table with another file than the snapshot shows may have any: whoever reads it starts over.
--   {place} {delta} {literal} {moved} {readable} {limit}
SELECT {place} AS place, pg_relation_size({literal}::regclass) AS bytes,
       greatest({moved}::int,
                (SELECT count(*)
                 FROM (SELECT FROM {delta} AS d
                       WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
                         AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
                         AND {readable}
                       LIMIT {limit}) AS f)) AS changes
WHERE EXISTS (
    SELECT FROM {delta} AS d
    WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
      AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot)))
   OR {moved}
