-- The changed keys of one table when they are few. The limit cuts nothing; it tells the planner so.
--   {delta} {keys} {few} {readable}
SELECT DISTINCT {keys}
FROM (SELECT {keys}
      FROM {delta}
      WHERE txid >= current_setting('bucardo.since_xmin')::bigint
        AND NOT txid_visible_in_snapshot(txid, (SELECT current_setting('bucardo.since')::txid_snapshot))
        AND txid_visible_in_snapshot(txid, (SELECT current_setting('bucardo.upto')::txid_snapshot))
        AND {readable}
      LIMIT {few}) AS few
