-- Changes of a table that version 4 had when it was taken over.
--   $1 oid
DELETE FROM bucardo.bucardo_delta WHERE tablename = $1
