#variable_conflict use_column
BEGIN
    -- Writes the keys of one statement, or of one row that changes its key, and wakes who sleeps.
    INSERT INTO {delta} ({keys}) {rows};{kicks}
    RETURN NULL;
END
