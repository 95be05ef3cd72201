-- Keep the longer text.
--   whenrun=conflict relation=notes
local longest = -1
for _, db in ipairs(input.dbs) do
    local row = input.rows[db]
    local length = row and utf8.len(row.note or "") or -1
    if length > longest then input.winner, longest = db, length end
end
