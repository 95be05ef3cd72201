-- Adds a table or sequence; returns its number.
INSERT INTO bucardo.goat (
    db, schemaname, tablename, reltype, pkey, qpkey, pkeytype, key_columns, autokick, rebuild_index,
    analyze_after_copy, makedelta, strict_checking, customselect, conflict_strategy
) VALUES (
    $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text[], $9::boolean, $10::smallint,
    coalesce($11::boolean, true), $12::text, coalesce($13::boolean, true),
    nullif($14::text, ''), nullif($15::text, '')
)
RETURNING id
