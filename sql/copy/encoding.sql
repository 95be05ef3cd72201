-- In which bytes this database writes text; by these, text is compared where no collation is alike everywhere.
SELECT current_setting('server_encoding') AS encoding
