BEGIN
    -- A single partition is about to be truncated: writes the keys of all its rows.
    EXECUTE pg_catalog.format('INSERT INTO %s (%s) SELECT %s FROM ONLY %I.%I',
        {delta}, {keys}, {columns}, TG_TABLE_SCHEMA, TG_TABLE_NAME);{kicks}
    RETURN NULL;
END
