-- Keys of tables that are copied anew wait no longer: what is refused of the copy does.
--   $1 text sync   $2 text[] schemas   $3 text[] tables, one for each
DELETE FROM bucardo.deadletter AS d
USING unnest($2::text[], $3::text[]) AS t (schemaname, tablename)
WHERE d.sync = $1 AND d.schemaname = t.schemaname AND d.tablename = t.tablename
