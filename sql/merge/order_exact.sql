-- Brings equal keys together, in the same order on every server: for types where equal values have equal texts.
--   {keys} (of d)
md5(convert_to(ROW({keys})::text, 'UTF8')) COLLATE "C"
