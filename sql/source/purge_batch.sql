-- Deletes one bounded batch of what everybody has read, and what is old enough; nothing while another purge of this
-- database is at work (bucardo_purge_delta, or another session's): two would wait for each other's rows.
--   {delta}   $1 text[] positions   $2 bigint ceiling   $3 float8 seconds to keep   $4 bigint rows at most
--   $5 timestamptz what is not older than this stays; NULL: no such bound
DELETE FROM {delta}
WHERE (SELECT pg_try_advisory_xact_lock(hashtext('bucardo purge')))
  AND ctid = ANY (ARRAY(SELECT d.ctid FROM {delta} AS d
                        WHERE d.txid < $2
                          AND d.txntime < least(now() - make_interval(secs => $3), $5::timestamptz)
                          AND NOT EXISTS (SELECT FROM unnest($1::text[]) AS p (position)
                                          WHERE NOT txid_visible_in_snapshot(d.txid, p.position::txid_snapshot))
                        LIMIT $4))
