BEGIN
    INSERT INTO bucardo.truncated (captured) VALUES ({captured});{kicks}
    RETURN NULL;
END
