//! Runs what a code asks of a database, inside the transaction that is open there.

use futures_util::TryStreamExt;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::statement::{Piece, Sort, pieces, sort};
use super::{Column, Found, Refused, Statement};
use crate::pg::{Sql, causes};

/// An answer has so many bytes at most.
const FOUND_BYTES_MAX: usize = 16 << 20;
/// The names that a code may not use for its own.
const SAVEPOINT: &str = "bucardo_custom_code";

/// Runs one statement. A transaction has to be open; where the statement fails it goes on as if it had not been tried.
/// Values go in and come out as text, in the output forms of their types.
///
/// `is_strict`: inside the transactions of a round, where a code may read and change rows, and nothing else. Elsewhere
/// it may also commit and roll back (the next transaction is begun at once), set, notify, and use savepoints.
///
/// # Errors
///
/// [`Refused`]: it is not allowed, the server refused it, or it found more than 16 MB.
pub async fn ask(client: &Client, is_strict: bool, statement: &Statement) -> Result<Found, Refused> {
    match sort(&statement.sql, is_strict)? {
        Sort::Ends => {
            // Where it fails, the transaction is over all the same.
            let found = run(client, &statement.sql, Vec::new()).await;
            client.batch_execute(if found.is_err() { "ROLLBACK; BEGIN" } else { "BEGIN" }).await.map_err(refused)?;
            found
        }
        Sort::Savepoint => savepoint(client, &statement.sql).await,
        sort => {
            client.batch_execute(&format!("SAVEPOINT {SAVEPOINT}")).await.map_err(refused)?;
            let found = if sort == Sort::Rows {
                rows(client, statement).await
            } else {
                run(client, &statement.sql, Vec::new()).await
            };
            let end = match found {
                Ok(_) => format!("RELEASE SAVEPOINT {SAVEPOINT}"),
                Err(_) => format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}"),
            };
            client.batch_execute(&end).await.map_err(refused)?;
            found
        }
    }
}

/// A savepoint that a code sets outlives ours, so all that may fail of it, its words, is tried first. One that it gives up
/// or goes back to takes ours, which is younger, along.
async fn savepoint(client: &Client, sql: &str) -> Result<Found, Refused> {
    client.batch_execute(&format!("SAVEPOINT {SAVEPOINT}")).await.map_err(refused)?;
    let is_new = pieces(sql)
        .first()
        .is_some_and(|(piece, _)| matches!(piece, Piece::Word(word) if word.eq_ignore_ascii_case("savepoint")));
    let tried = if is_new {
        client.prepare(sql).await.map(|_| Found::default()).map_err(refused)
    } else {
        run(client, sql, Vec::new()).await
    };
    if tried.is_err() {
        client.batch_execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}")).await.map_err(refused)?;
    }
    if is_new || tried.is_err() {
        client.batch_execute(&format!("RELEASE SAVEPOINT {SAVEPOINT}")).await.map_err(refused)?;
    }
    if is_new && tried.is_ok() { run(client, sql, Vec::new()).await } else { tried }
}

/// That it is one statement the extended protocol sees to, and hardly anything but what reads or changes rows can be
/// prepared by `PREPARE`. `EXECUTE` then answers in text, whatever the types.
async fn rows(client: &Client, statement: &Statement) -> Result<Found, Refused> {
    let prepared = client.prepare(&statement.sql).await.map_err(refused)?;
    let (wanted, given) = (prepared.params().len(), statement.values.len());
    if wanted != given {
        let message = format!("the statement takes {wanted} values, and {given} were given");
        return Err(Refused { message, sqlstate: Some("08P01".to_owned()) });
    }
    let column = |column: &tokio_postgres::Column| Column {
        name: column.name().to_owned(),
        kind: column.type_().name().to_owned(),
    };
    let columns = prepared.columns().iter().map(column).collect();
    client.batch_execute(&format!("PREPARE {SAVEPOINT} AS {}", statement.sql)).await.map_err(refused)?;
    let values = statement.values.iter().map(|value| match value {
        Some(value) => Sql::literal(value),
        None => Sql::trusted("NULL"),
    });
    let list = if given == 0 { String::new() } else { format!("({})", Sql::join(values, ", ")) };
    let execute = format!("EXECUTE {SAVEPOINT}{list}");
    let found = run(client, &execute, columns).await;
    // What is prepared outlives a savepoint, and nothing can be said to a transaction that has failed.
    if found.is_err() {
        client.batch_execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}")).await.map_err(refused)?;
    }
    client.batch_execute(&format!("DEALLOCATE {SAVEPOINT}")).await.map_err(refused)?;
    found
}

async fn run(client: &Client, sql: &str, columns: Vec<Column>) -> Result<Found, Refused> {
    let mut found = Found { columns, ..Found::default() };
    let mut bytes = 0;
    let mut messages = std::pin::pin!(client.simple_query_raw(sql).await.map_err(refused)?);
    while let Some(message) = messages.try_next().await.map_err(refused)? {
        match message {
            SimpleQueryMessage::Row(row) => {
                let values: Vec<Option<String>> = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
                bytes += values.iter().flatten().map(String::len).sum::<usize>() + 24 * values.len();
                if bytes <= FOUND_BYTES_MAX {
                    found.rows.push(values);
                } else {
                    found.rows.clear();
                }
            }
            SimpleQueryMessage::CommandComplete(count) => found.count = count,
            _ => {}
        }
    }
    if bytes > FOUND_BYTES_MAX {
        let megabytes = FOUND_BYTES_MAX >> 20;
        let message = format!("it found more than {megabytes} MB: ask for less at a time");
        return Err(Refused { message, sqlstate: None });
    }
    Ok(found)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: tokio_postgres::Error) -> Refused {
    match error.as_db_error() {
        Some(db) => Refused {
            message: db.detail().map_or_else(|| db.message().to_owned(), |more| format!("{}; {more}", db.message())),
            sqlstate: Some(db.code().code().to_owned()),
        },
        None => Refused { message: causes(&error), sqlstate: None },
    }
}
