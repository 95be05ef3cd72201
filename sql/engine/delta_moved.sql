-- The same of a delta table only.
--   {literal}
((SELECT c.relfilenode FROM pg_class AS c WHERE c.oid = {literal}::regclass)
 IS DISTINCT FROM pg_relation_filenode({literal}::regclass))
