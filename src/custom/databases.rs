//! What a code may ask of databases.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// One statement, with values as text; `None` is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Exactly one statement, with `$1`, `$2`, … for values.
    pub sql: String,
    /// The values.
    pub values: Vec<Option<String>>,
}

/// A column of what a statement found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type's name, as in `pg_type`.
    pub kind: String,
}

/// What a statement came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The columns; empty where it returns no rows.
    pub columns: Vec<Column>,
    /// The rows, every value in the output form of its type.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows returned or changed.
    pub count: u64,
}

/// Why a statement was not run, or failed. The transaction goes on as if it had not been tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What the server said, or what is not allowed here.
    pub message: String,
    /// The server's `SQLSTATE`; `None`: it never got there.
    pub sqlstate: Option<String>,
    /// All that the server said, in the lines of PostgreSQL's own programs; `None`: it never got there.
    pub full: Option<String>,
}

impl Refused {
    /// The server's own sentence, without what it adds to it.
    #[must_use]
    pub fn head(&self) -> &str {
        self.full.as_deref().unwrap_or(&self.message).lines().next().unwrap_or_default()
    }

    /// Whether the same, tried again, may go well without anyone's help: the session was lost, others were in the way, or
    /// the server had no room.
    #[must_use]
    pub fn passes(&self) -> bool {
        const PASSING: [&str; 4] = ["08", "40", "53", "55P03"];
        let state = self.sqlstate.as_deref().unwrap_or_default();
        self.ends_session() || PASSING.iter().any(|passing| state.starts_with(passing)) && state != "08P01"
    }

    /// Whether the server ended the session with that.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        self.sqlstate.as_deref().is_some_and(|state| state.starts_with("57P") || state == "25P03")
    }
}

/// The databases that a code can reach where it runs. They are asked by the engine, inside the transaction under way
/// on each; what they answer, and what is written, is as much part of the round as its own rows.
pub trait Databases: Send {
    /// Their names: sources first.
    fn names(&self) -> Vec<String>;

    /// Runs a statement on one of them.
    fn run<'a>(&'a mut self, db: &'a str, statement: Statement) -> BoxFuture<'a, Result<Found, Refused>>;

    /// Runs a statement that reads or changes rows with each of these values, in order.
    fn run_each<'a>(
        &'a mut self,
        db: &'a str,
        sql: &'a str,
        calls: Vec<Vec<Option<String>>>,
    ) -> BoxFuture<'a, Result<Vec<Found>, Refused>> {
        async move {
            let mut found = Vec::with_capacity(calls.len());
            for values in calls {
                found.push(self.run(db, Statement { sql: sql.to_owned(), values }).await?);
            }
            Ok(found)
        }
        .boxed()
    }

    /// From here on it is this code that asks.
    fn begins(&mut self, code: &str) {
        let _ = code;
    }

    /// A code has ended that may have asked: what it has set is put back.
    fn put_back(&mut self) -> BoxFuture<'_, Result<(), Refused>> {
        async { Ok(()) }.boxed()
    }
}
