-- Forgets that a table was taken over: it is given back.
--   $1 oid
DELETE FROM bucardo_perl.taken WHERE relation = $1
