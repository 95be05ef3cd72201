-- Route by a column: the row of the master that its column "owner" names counts.
--   whenrun=conflict relation=customers
for _, db in ipairs(input.dbs) do
    local row = input.rows[db]
    if row and input.rows[row.owner] then
        input.winner = row.owner
        return
    end
end
