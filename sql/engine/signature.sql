(SELECT md5(string_agg(concat_ws(' ', a.attname, a.attnum, a.atttypid, a.atttypmod, a.attisdropped), ',' ORDER BY a.attnum))
        || ' ' || coalesce(pg_relation_filenode({oid}), 0)
 FROM pg_attribute AS a WHERE a.attrelid = {oid} AND a.attnum > 0)
