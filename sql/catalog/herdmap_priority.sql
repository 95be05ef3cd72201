-- Changes the priority of a member of a relgroup; no row when it is no member, or has that priority.
--   $1 text      the relgroup
--   $2 integer   the table or sequence
--   $3 smallint  the priority
UPDATE bucardo.herdmap SET priority = $3::smallint
WHERE herd = $1::text AND goat = $2::integer AND priority <> $3::smallint
