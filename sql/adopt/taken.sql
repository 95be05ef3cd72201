-- Whether a table was taken over.
--   $1 oid
SELECT EXISTS (SELECT FROM bucardo_perl.taken WHERE relation = $1) AS taken
