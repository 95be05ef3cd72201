-- Whether our schema exists.
SELECT to_regnamespace('bucardo') IS NOT NULL AS exists
