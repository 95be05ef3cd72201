-- Adds a database.
INSERT INTO bucardo.db (
    name, dbdsn, dbtype, dbhost, dbport, dbname, dbuser, dbpass, dbconn, dbservice, pgpass, status,
    server_side_prepares, makedelta
) VALUES (
    $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text, $10::text, $11::text,
    $12::text, $13::boolean, $14::boolean
)
