-- Mail on a warning: a run of so many changes is worth a look.
--   whenrun=after_txn sync=orders getdbh=false
local changes = input.deltacount.all
if changes >= 1000 then
    input.warning = changes .. " changes in one run"
    input.sendmail{subject = "Much to do for sync " .. input.syncname, body = input.warning}
end
