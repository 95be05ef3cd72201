-- One branch for each table: its place, the size of its delta table, how many changes somebody has not read and when the
-- oldest of them was made (both up to a limit), if there are any. None of them: what is unread is no news for this sync, and only moves the positions. A delta
-- table with another file than the snapshot shows may have any: whoever reads it starts over.
--   {place} {delta} {literal} {moved} {readable} {limit}
SELECT {place} AS place, pg_relation_size({literal}::regclass) AS bytes,
       {moved} AS moved,
       (SELECT ARRAY[count(*), round(date_part('epoch', min(d.txntime)) * 1000000)::bigint]
        FROM (SELECT d.txntime FROM {delta} AS d
              WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
                AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
                AND {readable}
              LIMIT {limit}) AS d) AS unread
WHERE EXISTS (
    SELECT FROM {delta} AS d
    WHERE d.txid >= current_setting('bucardo.since_xmin')::bigint
      AND NOT txid_visible_in_snapshot(d.txid, (SELECT current_setting('bucardo.since')::txid_snapshot)))
   OR {moved}
