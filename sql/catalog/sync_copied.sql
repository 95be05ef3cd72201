-- Every target has made the whole copy that this request asked for. A request made since then stays.
--   $1 text    the sync
--   $2 bigint  the request
UPDATE bucardo.sync SET onetimecopy = 0 WHERE name = $1::text AND copy_request = $2::bigint AND onetimecopy <> 0
