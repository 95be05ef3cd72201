-- Sum counters from two masters.
--   whenrun=conflict relation=counters
-- Each master counts in a column of its own, so that of two values of a column the larger is the newer one; the sum is
-- from_a + from_b. Whatever is merged twice changes nothing.
local a, b = input.rows.A, input.rows.B
if not (a and b) then return end -- one has deleted it: the strategy of the sync decides
input.row = a
for _, column in ipairs{"from_a", "from_b"} do
    input.row[column] = math.max(tonumber(a[column]), tonumber(b[column]))
end
