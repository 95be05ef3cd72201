-- Adds a database. The time is the clock's, so that those added together keep their order.
INSERT INTO bucardo.db (
    name, dbdsn, dbtype, dbhost, dbport, dbname, dbuser, dbpass, dbconn, dbservice, pgpass, status,
    server_side_prepares, makedelta, sourcelimit, targetlimit, cdate
) VALUES (
    $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text, $10::text, $11::text,
    $12::text, $13::boolean, $14::boolean, $15::smallint, $16::smallint, clock_timestamp()
)
