-- What the clock of the server says.
SELECT extract(epoch FROM clock_timestamp())::float8 AS clock
