-- Nobody wants these changes any more.
--   {delta}
DELETE FROM {delta}
