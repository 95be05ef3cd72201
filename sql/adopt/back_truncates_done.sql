-- What version 5 had not told of a truncation is told by now, or is told anew.
--   $1 oid table
UPDATE bucardo.bucardo_truncate_trigger SET replicated = now() WHERE tablename = $1 AND replicated IS NULL
