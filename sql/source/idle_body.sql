BEGIN
    -- No sync wants the changes of this table.
    RETURN NULL;
END
