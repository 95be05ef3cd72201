-- How many rows are undelivered.
SELECT count(*) AS rows FROM bucardo_back
