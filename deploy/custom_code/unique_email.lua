-- Resolve a unique e-mail clash: the row that comes keeps its address, the one in its way gets another.
--   whenrun=exception relation=users
if input.sqlstate ~= "23505" then return end
for _, row in ipairs(input.rows) do
    input.dbh[input.database]:run(
        "UPDATE users SET email = 'taken.' || id || '.' || email WHERE email = $1 AND id <> $2", row.email, row.id)
end
input.warning = "an e-mail address was taken"
input.runagain = true
