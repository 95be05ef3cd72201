-- Adds a custom code; returns its number.
--   $1 text      its name
--   $2 text      when it runs
--   $3 text      its source
--   $4 text      a remark
--   $5 boolean   whether it gets database handles
--   $6 text      active or inactive
--   $7 smallint  higher runs first
--   $8 text      what it is written in
--   $9 boolean   whether it gets the keys of the changed rows
INSERT INTO bucardo.customcode (name, whenrun, src_code, about, getdbh, status, priority, language, getrows)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::boolean, $6::text, $7::smallint, $8::text, $9::boolean)
RETURNING id
