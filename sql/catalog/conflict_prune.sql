-- Deletes some of the conflicts that were kept long enough; the totals stay.
--   $1 double precision  seconds for which a conflict is kept
--   $2 bigint            how many at most
DELETE FROM bucardo.conflict AS c
USING (
    SELECT o.id
    FROM bucardo.conflict AS o
    WHERE o.cdate < now() - make_interval(secs => $1::double precision)
    ORDER BY o.cdate
    LIMIT $2::bigint
) AS old
WHERE c.id = old.id
