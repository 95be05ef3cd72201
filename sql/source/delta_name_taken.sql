-- Whether a delta table of this name belongs to some table already, registered or not.
--   $1 text name
SELECT EXISTS (SELECT FROM bucardo.captured WHERE deltaname = $1)
    OR to_regclass('bucardo.' || quote_ident($1)) IS NOT NULL AS taken
