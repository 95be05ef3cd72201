//! The journal of a copy in pieces, in the target: which tables and pieces there are, and which are done. A piece is
//! noted in the transaction that writes its rows, so what the journal says is so.

use std::collections::HashMap;

use bucardo_actors::model::{GoatCounts, Pair};

use super::copier::Index;
use super::plan::Task;
use crate::engine::error::RoundError;
use crate::engine::site::Site;
use crate::pg::SqlFile;

macro_rules! sql {
    ($name:literal) => {
        SqlFile::new(include_str!(concat!("../../../sql/", $name, ".sql")))
    };
}

const LOCK: SqlFile = sql!("source/install_lock");
const EXISTS: SqlFile = sql!("source/exists");
const JOURNAL: SqlFile = sql!("copy/journal");
const JOB_READ: SqlFile = sql!("copy/job_read");
const JOB_WRITE: SqlFile = sql!("copy/job_write");
const TABLES_READ: SqlFile = sql!("copy/tables_read");
const PENDING_INDEXES: SqlFile = sql!("copy/pending_indexes");
const TABLE_WRITE: SqlFile = sql!("copy/table_write");
const TABLE_FORGET: SqlFile = sql!("copy/table_forget");
const TABLES_FORGET: SqlFile = sql!("copy/tables_forget");
const CHUNKS_READ: SqlFile = sql!("copy/chunks_read");
const CHUNKS_WRITE: SqlFile = sql!("copy/chunks_write");
const OTHERS: SqlFile = sql!("copy/others");
const PROGRESS: SqlFile = sql!("copy/progress");
const FINISH: SqlFile = sql!("copy/finish");
const WITHDRAW: SqlFile = sql!("copy/withdraw");

/// The mode of a copy in one transaction. Nothing of it can be gone on with: it is noted for people only.
pub(super) const WHOLE: i16 = 0;

/// A copy that has begun.
pub(super) struct Job {
    pub(super) request: i64,
    /// As `onetimecopy` was when it began, or [`WHOLE`].
    pub(super) mode: i16,
    pub(super) attempt: i32,
}

/// A piece of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) number: i32,
    pub(super) low: Option<String>,
    pub(super) high: Option<String>,
    pub(super) is_done: bool,
    pub(super) rows: i64,
}

/// A table, as the journal has it.
pub(super) struct Noted {
    /// Schema and name on the source.
    pub(super) names: (String, String),
    pub(super) signature: String,
    /// Copied, vacuumed and analyzed.
    pub(super) is_done: bool,
    pub(super) indexes: Vec<Index>,
    pub(super) chunks: Vec<Chunk>,
}

/// What is noted when an attempt begins.
pub(super) struct Totals {
    pub(super) tables: i64,
    pub(super) rows: i64,
    pub(super) bytes: i64,
    /// Of the pieces that are done.
    pub(super) bytes_done: i64,
}

/// The journal of one pair.
pub(super) struct Journal<'a> {
    pub(super) target: &'a Site,
    pub(super) id: &'a Pair,
}

impl Journal<'_> {
    fn key(&self) -> (&str, &str) {
        (self.id.sync.as_str(), self.id.source.as_str())
    }

    fn failed(&self, doing: &str) -> impl FnOnce(tokio_postgres::Error) -> RoundError {
        self.target.failed(format!("{doing} the journal of the copy"))
    }

    /// Makes the tables of the journal, if they are not there.
    pub(super) async fn open(&self) -> Result<(), RoundError> {
        let conn = &self.target.conn;
        let made = async {
            if !conn.query_one(EXISTS.text(), &[&"bucardo.copy_chunk"]).await?.get::<_, bool>("exists") {
                conn.batch_execute(LOCK.text()).await?;
                conn.batch_execute(JOURNAL.text()).await?;
            }
            Ok(())
        };
        made.await.map_err(self.failed("making"))
    }

    /// The copy that is under way.
    pub(super) async fn job(&self) -> Result<Option<Job>, RoundError> {
        let (sync, source) = self.key();
        let row =
            self.target.conn.query_opt(JOB_READ.text(), &[&sync, &source]).await.map_err(self.failed("reading"))?;
        let job = |row: tokio_postgres::Row| Job {
            request: row.get("request"),
            mode: row.get("mode"),
            attempt: row.get("attempt"),
        };
        Ok(row.map(job))
    }

    /// Its tables, by goat.
    pub(super) async fn tables(&self) -> Result<HashMap<i32, Noted>, RoundError> {
        let (sync, source) = self.key();
        let rows = self.target.conn.query(TABLES_READ.text(), &[&sync, &source]).await;
        let mut tables = HashMap::new();
        for row in rows.map_err(self.failed("reading"))? {
            let noted = Noted {
                names: (row.get("schemaname"), row.get("tablename")),
                signature: row.get("signature"),
                is_done: row.get::<_, &str>("state") == "done",
                indexes: indexes(&row),
                chunks: Vec::new(),
            };
            tables.insert(row.get::<_, i32>("goat"), noted);
        }
        let rows = self.target.conn.query(CHUNKS_READ.text(), &[&sync, &source]).await;
        for row in rows.map_err(self.failed("reading"))? {
            if let Some(noted) = tables.get_mut(&row.get::<_, i32>("goat")) {
                noted.chunks.push(Chunk {
                    number: row.get("chunk"),
                    low: row.get("low"),
                    high: row.get("high"),
                    is_done: row.get("done"),
                    rows: row.get("rows"),
                });
            }
        }
        Ok(tables)
    }

    /// Tables that some copy of this sync has left without indexes, by goat. Nothing else of them is of use.
    pub(super) async fn pending_indexes(&self) -> Result<HashMap<i32, Noted>, RoundError> {
        let rows = self.target.conn.query(PENDING_INDEXES.text(), &[&self.id.sync.as_str()]).await;
        let noted = |row: &tokio_postgres::Row| Noted {
            names: (row.get("schemaname"), row.get("tablename")),
            signature: String::new(),
            is_done: false,
            indexes: indexes(row),
            chunks: Vec::new(),
        };
        Ok(rows.map_err(self.failed("reading"))?.iter().map(|row| (row.get("goat"), noted(row))).collect())
    }

    /// Forgets everything of this sync, also copies from other sources, which are given up.
    pub(super) async fn forget_all(&self) -> Result<(), RoundError> {
        let (sync, source) = self.key();
        let conn = &self.target.conn;
        let done = async {
            conn.execute(TABLES_FORGET.text(), &[&sync]).await?;
            conn.execute(OTHERS.text(), &[&sync, &source]).await
        };
        done.await.map(drop).map_err(self.failed("clearing"))
    }

    /// Forgets these tables.
    pub(super) async fn forget(&self, goats: &[i32]) -> Result<(), RoundError> {
        let (sync, source) = self.key();
        let done = self.target.conn.execute(TABLE_FORGET.text(), &[&sync, &source, &goats]).await;
        done.map(drop).map_err(self.failed("clearing"))
    }

    /// Notes a table that begins.
    pub(super) async fn begin_table(&self, task: &Task, attempt: i32) -> Result<(), RoundError> {
        let (sync, source) = self.key();
        let names: Vec<&str> = task.indexes.iter().map(|index| index.name.as_str()).collect();
        let making: Vec<&str> = task.indexes.iter().map(|index| index.making.as_str()).collect();
        let (schema, name) = &task.names;
        let args: [&(dyn postgres_types::ToSql + Sync); 11] = [
            &sync,
            &source,
            &task.goat,
            &schema,
            &name,
            &task.signature,
            &attempt,
            &task.rows,
            &task.bytes,
            &names,
            &making,
        ];
        let conn = &self.target.conn;
        conn.execute(TABLE_WRITE.text(), &args).await.map_err(self.failed("writing"))?;
        let low: Vec<Option<&str>> = task.chunks.iter().map(|chunk| chunk.low.as_deref()).collect();
        let high: Vec<Option<&str>> = task.chunks.iter().map(|chunk| chunk.high.as_deref()).collect();
        let done = conn.execute(CHUNKS_WRITE.text(), &[&sync, &source, &task.goat, &low, &high]).await;
        done.map(drop).map_err(self.failed("writing"))
    }

    /// Notes that an attempt begins.
    pub(super) async fn begin(&self, job: &Job, totals: &Totals) -> Result<(), RoundError> {
        let (sync, source) = self.key();
        let args: [&(dyn postgres_types::ToSql + Sync); 9] = [
            &sync,
            &source,
            &job.request,
            &job.mode,
            &job.attempt,
            &totals.tables,
            &totals.rows,
            &totals.bytes,
            &totals.bytes_done,
        ];
        self.target.conn.execute(JOB_WRITE.text(), &args).await.map(drop).map_err(self.failed("writing"))
    }

    /// Tells people how far it is: tables, rows, bytes.
    pub(super) async fn progress(&self, tables: i64, rows: i64, bytes: i64) -> Result<(), RoundError> {
        let (sync, source) = self.key();
        let told = self.target.conn.execute(PROGRESS.text(), &[&sync, &source, &tables, &rows, &bytes]).await;
        told.map(drop).map_err(self.failed("writing"))
    }

    /// Takes back what was noted of a copy in one transaction.
    pub(super) async fn withdraw(&self) -> Result<(), RoundError> {
        let (sync, source) = self.key();
        let done = self.target.conn.execute(WITHDRAW.text(), &[&sync, &source, &WHOLE]).await;
        done.map(drop).map_err(self.failed("clearing"))
    }

    /// Closes it, in the transaction that writes the position; returns the rows of each table in all attempts.
    pub(super) async fn finish(&self) -> Result<Vec<GoatCounts>, RoundError> {
        let (sync, source) = self.key();
        let rows = self.target.conn.query(FINISH.text(), &[&sync, &source]).await;
        let of = |row: &tokio_postgres::Row| GoatCounts {
            goat: row.get("goat"),
            inserts: row.get::<_, i64>("rows").unsigned_abs(),
            ..GoatCounts::default()
        };
        Ok(rows.map_err(self.failed("closing"))?.iter().map(of).collect())
    }
}

fn indexes(row: &tokio_postgres::Row) -> Vec<Index> {
    let (names, making): (Vec<String>, Vec<String>) = (row.get("index_names"), row.get("indexes"));
    names.into_iter().zip(making).map(|(name, making)| Index { name, making }).collect()
}
