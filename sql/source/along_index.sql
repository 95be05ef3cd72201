-- What follows reads along indexes, and ends where its limit does: without statistics the server would rather sort
-- everything first.
BEGIN READ ONLY;
SET LOCAL enable_sort = off;
SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_seqscan = off
