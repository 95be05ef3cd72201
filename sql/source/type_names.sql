-- Names of types, in order.
--   $1 oid[] types
SELECT pg_catalog.format_type(w.type, -1) AS name
FROM unnest($1::oid[]) WITH ORDINALITY AS w (type, place)
ORDER BY w.place
