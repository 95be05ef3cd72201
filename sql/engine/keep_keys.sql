-- Keeps the changed keys of one table on the source, each once: they are read twice, and the planner shall know them.
--   {keys_table} {changed}
INSERT INTO {keys_table} {changed}
