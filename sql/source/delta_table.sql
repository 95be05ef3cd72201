-- The delta table: one row for each changed key, typed like the key.
--   {delta} {columns} (key column AS delta column, ...) {table} {index}
-- A replica identity of its own, so that the purge works under native publications; one index, on txid.
CREATE TABLE {delta} AS SELECT {columns} FROM {table} WITH NO DATA;
ALTER TABLE {delta}
    ADD COLUMN txntime timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN txid bigint NOT NULL DEFAULT txid_current(),
    ADD COLUMN origin text,
    REPLICA IDENTITY FULL;
CREATE INDEX {index} ON {delta} (txid)
