-- Nobody wants these changes any more.
--   {delta}
TRUNCATE {delta}
