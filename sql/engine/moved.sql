-- Whether a table, a partition of it, or its delta table got another file after the snapshot was taken: it then looks
-- empty, whatever the snapshot should show (manual, section "Caveats" of the chapter on concurrency control). The catalog
-- is read as of the snapshot; pg_relation_filenode tells the present. To be asked when the tables are locked.
--   {oid} the table   {literal} the delta table
(WITH RECURSIVE tree AS (
     SELECT w.oid FROM unnest(ARRAY[{oid}, {literal}::regclass::oid]::oid[]) AS w (oid)
     UNION ALL
     SELECT i.inhrelid FROM tree AS t
     JOIN pg_inherits AS i ON i.inhparent = t.oid
     JOIN pg_class AS p ON p.oid = i.inhparent AND p.relkind = 'p')
 SELECT coalesce(bool_or(c.relfilenode IS DISTINCT FROM coalesce(pg_relation_filenode(t.oid), 0)), false)
 FROM tree AS t LEFT JOIN pg_class AS c ON c.oid = t.oid WHERE coalesce(c.relkind, 'r') = 'r')
