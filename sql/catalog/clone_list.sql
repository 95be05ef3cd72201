-- The copies that were asked for, the last one first. A sync says itself whether one is still to be made.
SELECT c.id, c.sync, c.started::timestamptz(0)::text AS started,
       CASE WHEN s.onetimecopy <> 0 AND c.id = (SELECT max(l.id) FROM bucardo.clone AS l WHERE l.sync = c.sync)
            THEN coalesce(c.status, 'started') ELSE 'done' END AS status
FROM bucardo.clone AS c
LEFT JOIN bucardo.sync AS s ON s.name = c.sync
ORDER BY c.id DESC
