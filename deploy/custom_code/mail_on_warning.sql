-- Mail on a warning: a run of so many changes is worth a look.
--   whenrun=after_txn sync=orders
SELECT jsonb_build_object(
    'warning', text,
    'sendmail', jsonb_build_object('subject', 'Much to do for sync ' || ($1->>'syncname'), 'body', text)
)
FROM (VALUES (($1#>>'{deltacount,all}') || ' changes in one run')) AS t (text)
WHERE ($1#>>'{deltacount,all}')::bigint >= 1000
