-- What is set for the session and its transaction, by name, before a custom code asks.
SELECT coalesce(json_object_agg(s.name, s.setting), '{}') AS settings
FROM (SELECT name, setting
      FROM pg_settings
      WHERE source = 'session'
      UNION ALL
      SELECT name, current_setting(name, true)
      FROM unnest(ARRAY['bucardo.since', 'bucardo.since_xmin', 'bucardo.upto', 'bucardo.keys', 'bucardo.floor',
                        'bucardo.first_txid', 'bucardo.low', 'bucardo.high']) AS name
      WHERE current_setting(name, true) IS NOT NULL) AS s
