-- The origin that a delta row gets where it is handed on: this sync, the databases that the change has been to, then
-- those that this sync brings it from.
--   {origin} {sync} (with a blank at its end) {via} (with serial and sign at its end)
({sync} || coalesce(split_part({origin}, ' ', 2) || ',', '') || {via})
