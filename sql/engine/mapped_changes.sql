-- The same, of changed keys only. The keys are those of the table, whatever the list makes of them.
--   {list} {table} {filter} {changed} {keys} (alias of the changed keys) {on}
({list}
FROM {table}
WHERE (
{filter}
) AND EXISTS (SELECT FROM ({changed}) AS {keys} WHERE {on}))
