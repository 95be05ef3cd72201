
    IF {written}pg_catalog.pg_sequence_last_value({gate}::pg_catalog.regclass) OPERATOR(pg_catalog.=) 1 THEN
        PERFORM pg_catalog.pg_notify('bucardo', {payload});
    END IF;
