-- The words of versions 3 and 4 for sequences are kept as the conflict strategy that they are.

-- A conflict strategy of a sequence in the words of today, from one in those of version 3.
CREATE OR REPLACE FUNCTION bucardo.sequence_strategy_of(word text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN lower(btrim(word)) IN ('source', 'target', 'skip', 'lowest', 'highest')
                THEN 'bucardo_' || lower(btrim(word)) ELSE word END
$$;

-- Tables: the key as a list, whoever wrote it as text; ping and standard_conflict are autokick and conflict_strategy.
CREATE OR REPLACE FUNCTION bucardo.classic_goat() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    is_new CONSTANT boolean := TG_OP = 'INSERT';
    is_sequence CONSTANT boolean := NEW.reltype = 'sequence';
    words CONSTANT text[] := CASE WHEN is_sequence THEN ARRAY['source', 'target', 'skip', 'lowest', 'highest']
                                  ELSE ARRAY['source', 'target', 'skip', 'random', 'latest', 'abort'] END;
BEGIN
    IF is_new THEN
        IF coalesce(NEW.pkey, '') <> '' AND NEW.key_columns = '{}' THEN
            NEW.key_columns := string_to_array(NEW.pkey, '|');
        END IF;
    ELSIF NEW.pkey IS DISTINCT FROM OLD.pkey AND NEW.key_columns = OLD.key_columns THEN
        NEW.key_columns := coalesce(string_to_array(nullif(NEW.pkey, ''), '|'), '{}');
    END IF;
    IF (is_new AND NEW.qpkey IS NULL OR NOT is_new AND NEW.qpkey IS NOT DISTINCT FROM OLD.qpkey)
       AND NEW.key_columns <> '{}' THEN
        NEW.qpkey := (SELECT string_agg(quote_ident(k.name), '|' ORDER BY k.place)
                        FROM unnest(NEW.key_columns) WITH ORDINALITY AS k(name, place));
    END IF;
    IF NEW.ping IS NOT NULL AND (is_new AND NEW.autokick IS NULL)
       OR NOT is_new AND NEW.ping IS DISTINCT FROM OLD.ping AND NEW.autokick IS NOT DISTINCT FROM OLD.autokick THEN
        NEW.autokick := NEW.ping;
    END IF;
    NEW.ping := NEW.autokick;
    IF NEW.standard_conflict IS NOT NULL AND (is_new AND coalesce(NEW.conflict_strategy, '') = '')
       OR NOT is_new AND NEW.standard_conflict IS DISTINCT FROM OLD.standard_conflict
          AND NEW.conflict_strategy IS NOT DISTINCT FROM OLD.conflict_strategy THEN
        IF NEW.standard_conflict <> ALL (words) THEN
            RAISE EXCEPTION 'Invalid standard_conflict "%" for % %.%',
                NEW.standard_conflict, NEW.reltype, NEW.schemaname, NEW.tablename
                USING HINT = 'It is one of ' || array_to_string(words, ', ')
                             || '; conflict_strategy takes names of databases, too';
        END IF;
        NEW.conflict_strategy := NEW.standard_conflict;
    END IF;
    IF is_sequence THEN
        NEW.conflict_strategy := bucardo.sequence_strategy_of(NEW.conflict_strategy);
        NEW.standard_conflict := CASE WHEN substr(NEW.conflict_strategy, 9) = ANY (words)
                                       AND NEW.conflict_strategy LIKE 'bucardo\_%'
                                      THEN substr(NEW.conflict_strategy, 9) END;
        RETURN NEW;
    END IF;
    NEW.conflict_strategy := bucardo.conflict_strategy_of(NEW.conflict_strategy);
    NEW.standard_conflict := bucardo.standard_conflict_of(NEW.conflict_strategy);
    RETURN NEW;
END $$;

UPDATE bucardo.goat SET conflict_strategy = bucardo.sequence_strategy_of(standard_conflict)
 WHERE reltype = 'sequence' AND standard_conflict IS NOT NULL AND coalesce(conflict_strategy, '') = '';
