-- What a target database keeps of a copy that is made in pieces, committed together with the rows. Safe to run again.
-- While it is under way, bucardo.position holds the request's number with a minus sign, and the snapshot that all
-- finished pieces are of.
--   copy_job    one copy of a sync from a source: the last one, finished or not
--     mode          as onetimecopy was; 0: in one transaction, not in pieces; only noted while it is under way
--     bytes         of the tables on the source, not what travelled; bytes_before: when this attempt began
--   copy_table  its tables
--     signature     of what the copied pieces were made with; another one: the table is copied anew
--     state         copying; copied: all pieces and indexes are there; done: vacuumed and analyzed, too
--     indexes       dropped, to be made again with these statements, by name
--     attempt       in which the table was begun
--   copy_chunk  the pieces of a table: from low to below high, as text; NULL: no bound
CREATE TABLE IF NOT EXISTS bucardo.copy_job (
    sync         text        NOT NULL,
    source       text        NOT NULL,
    request      bigint      NOT NULL,
    mode         smallint    NOT NULL,
    attempt      int         NOT NULL DEFAULT 1,
    started      timestamptz NOT NULL DEFAULT now(),
    began        timestamptz NOT NULL DEFAULT now(),
    updated      timestamptz NOT NULL DEFAULT now(),
    finished     timestamptz NULL,
    tables       bigint      NOT NULL DEFAULT 0,
    tables_done  bigint      NOT NULL DEFAULT 0,
    rows         bigint      NOT NULL DEFAULT 0,
    rows_total   bigint      NOT NULL DEFAULT 0,
    bytes        bigint      NOT NULL DEFAULT 0,
    bytes_total  bigint      NOT NULL DEFAULT 0,
    bytes_before bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (sync, source)
);
CREATE TABLE IF NOT EXISTS bucardo.copy_table (
    sync        text   NOT NULL,
    source      text   NOT NULL,
    goat        int    NOT NULL,
    schemaname  text   NOT NULL,
    tablename   text   NOT NULL,
    signature   text   NOT NULL,
    state       text   NOT NULL DEFAULT 'copying',
    attempt     int    NOT NULL DEFAULT 1,
    rows_total  bigint NOT NULL DEFAULT 0,
    bytes_total bigint NOT NULL DEFAULT 0,
    index_names text[] NOT NULL DEFAULT '{}',
    indexes     text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (sync, source, goat)
);
CREATE TABLE IF NOT EXISTS bucardo.copy_chunk (
    sync    text        NOT NULL,
    source  text        NOT NULL,
    goat    int         NOT NULL,
    chunk   int         NOT NULL,
    low     text        NULL,
    high    text        NULL,
    state   text        NOT NULL DEFAULT 'waiting',
    attempt int         NULL,
    rows    bigint      NOT NULL DEFAULT 0,
    bytes   bigint      NOT NULL DEFAULT 0,
    began   timestamptz NULL,
    ended   timestamptz NULL,
    PRIMARY KEY (sync, source, goat, chunk)
)
