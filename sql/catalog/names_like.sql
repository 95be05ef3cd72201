-- Which names fit a regular expression.
--   $1 text[]  names
--   $2 text    the expression
SELECT n.name FROM unnest($1::text[]) WITH ORDINALITY AS n(name, place) WHERE n.name ~ $2::text ORDER BY n.place
