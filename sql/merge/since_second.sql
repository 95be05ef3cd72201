-- Since when a second session reads changes.
--   {since} {since_xmin} literals
SET LOCAL bucardo.since = {since};
SET LOCAL bucardo.since_xmin = {since_xmin}
