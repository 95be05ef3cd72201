-- Statements that make room for our freezer of old runs, or give the other Bucardo its own one back.
--   $1 boolean  the way back
SELECT 'ALTER SCHEMA freezer RENAME TO bucardo_perl_freezer' AS statement
WHERE NOT $1::boolean AND to_regnamespace('freezer') IS NOT NULL
UNION ALL
SELECT 'DROP SCHEMA IF EXISTS freezer CASCADE' WHERE $1::boolean
UNION ALL
SELECT 'ALTER SCHEMA bucardo_perl_freezer RENAME TO freezer'
WHERE $1::boolean AND to_regnamespace('bucardo_perl_freezer') IS NOT NULL
