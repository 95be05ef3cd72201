//! Runs what a code asks of a database, inside the transaction that is open there.

use futures_util::TryStreamExt;
use tokio_postgres::error::DbError;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::statement::{Piece, Sort, pieces, sort};
use super::{Column, Found, Refused, Statement};
use crate::pg::{Sql, causes};

/// An answer has so many bytes at most.
const FOUND_BYTES_MAX: usize = 16 << 20;
/// A message has about so many bytes of statements.
const MESSAGE_BYTES: usize = 1 << 20;
/// The names that a code may not use for its own.
const SAVEPOINT: &str = "bucardo_custom_code";
const EACH: &str = "bucardo_custom_codes";
/// SQLSTATE: a name of a statement is not known, among others.
const NAMES: &str = "42";

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
        Sort::Session => within(client, run(client, &statement.sql, Vec::new())).await,
        Sort::Rows => {
            let mut found =
                ask_each(client, is_strict, &statement.sql, std::slice::from_ref(&statement.values)).await?;
            Ok(found.pop().unwrap_or_default())
        }
    }
}

/// Runs a statement that reads or changes rows with each of these values, in order; where one fails, the transaction goes
/// on as if none had been tried.
///
/// # Errors
///
/// As of [`ask`]; what they find together has to be less than 16 MB.
pub async fn ask_each(
    client: &Client,
    is_strict: bool,
    sql: &str,
    calls: &[Vec<Option<String>>],
) -> Result<Vec<Found>, Refused> {
    if sort(sql, is_strict)? != Sort::Rows {
        let message = "only what reads or changes rows can be run for each of many inputs".to_owned();
        return Err(Refused { message, ..Refused::default() });
    }
    within(client, rows(client, sql, calls)).await
}

/// Takes back what fails.
async fn within<T>(client: &Client, run: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    client.batch_execute(&format!("SAVEPOINT {SAVEPOINT}")).await.map_err(refused)?;
    let found = run.await;
    let end = match found {
        Ok(_) => format!("RELEASE SAVEPOINT {SAVEPOINT}"),
        Err(_) => format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}"),
    };
    // Of a session that has ended the first error tells why.
    client.batch_execute(&end).await.or_else(|error| if found.is_ok() { Err(refused(error)) } else { Ok(()) })?;
    found
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
/// prepared by `PREPARE`.
async fn rows(client: &Client, sql: &str, calls: &[Vec<Option<String>>]) -> Result<Vec<Found>, Refused> {
    let prepared = client.prepare(sql).await.map_err(refused)?;
    let wanted = prepared.params().len();
    if let Some(given) = calls.iter().map(Vec::len).find(|given| *given != wanted) {
        let message = format!("the statement takes {wanted} values, and {given} were given");
        return Err(Refused { message, sqlstate: Some("08P01".to_owned()), full: None });
    }
    let column = |column: &tokio_postgres::Column| Column {
        name: column.name().to_owned(),
        kind: column.type_().name().to_owned(),
    };
    let columns: Vec<Column> = prepared.columns().iter().map(column).collect();
    if let [values] = calls {
        client
            .batch_execute(&format!("PREPARE {SAVEPOINT} AS {sql}\n; DEALLOCATE {SAVEPOINT}"))
            .await
            .map_err(refused)?;
        return Ok(vec![run(client, &filled(sql, prepared.params(), values), columns).await?]);
    }
    client.batch_execute(&format!("SAVEPOINT {EACH}")).await.map_err(refused)?;
    let all = match many(client, sql, &columns, calls).await {
        Err(Refused { sqlstate: Some(state), .. }) if state.starts_with(NAMES) => {
            client.batch_execute(&format!("ROLLBACK TO SAVEPOINT {EACH}")).await.map_err(refused)?;
            one_by_one(client, (sql, prepared.params()), &columns, calls).await?
        }
        all => all?,
    };
    client.batch_execute(&format!("RELEASE SAVEPOINT {EACH}")).await.map_err(refused)?;
    Ok(all)
}

/// `EXECUTE` answers in text, whatever the types, and needs no new plan for each. But it looks the names of a statement up
/// once more before it answers: what changes the search path must not be run by it.
async fn many(
    client: &Client,
    sql: &str,
    columns: &[Column],
    calls: &[Vec<Option<String>>],
) -> Result<Vec<Found>, Refused> {
    client.batch_execute(&format!("PREPARE {SAVEPOINT} AS {sql}")).await.map_err(refused)?;
    let mut found = Vec::with_capacity(calls.len());
    let mut calls = calls.iter().peekable();
    let mut room = FOUND_BYTES_MAX;
    let mut all = Ok(());
    while all.is_ok() && calls.peek().is_some() {
        let mut message = String::new();
        while message.len() < MESSAGE_BYTES
            && let Some(values) = calls.next()
        {
            let list = if values.is_empty() {
                String::new()
            } else {
                format!("({})", Sql::join(values.iter().map(literal), ", "))
            };
            message.push_str(&format!("EXECUTE {SAVEPOINT}{list};"));
        }
        all = run_all(client, &message, columns, &mut room).await.map(|more| found.extend(more));
    }
    // What is prepared outlives a savepoint, and nothing can be said to a transaction that has failed.
    let back = if all.is_err() { format!("ROLLBACK TO SAVEPOINT {EACH}; ") } else { String::new() };
    let ended = client.batch_execute(&format!("{back}DEALLOCATE {SAVEPOINT}")).await;
    // Of a session that has ended the first error tells why.
    all?;
    ended.map_err(refused)?;
    Ok(found)
}

/// The same where the functions of a statement change the search path: each call begins with the one of now.
async fn one_by_one(
    client: &Client,
    (sql, kinds): (&str, &[Type]),
    columns: &[Column],
    calls: &[Vec<Option<String>>],
) -> Result<Vec<Found>, Refused> {
    let path = run(client, "SELECT pg_catalog.current_setting('search_path')", Vec::new()).await?;
    let path = path.rows.into_iter().flatten().next().flatten().unwrap_or_default();
    let path = format!("SELECT pg_catalog.set_config('search_path', {}, true)", Sql::literal(&path));
    let mut room = FOUND_BYTES_MAX;
    let mut all = Vec::with_capacity(calls.len());
    for values in calls {
        client.batch_execute(&path).await.map_err(refused)?;
        all.extend(run_all(client, &filled(sql, kinds, values), columns, &mut room).await?);
    }
    Ok(all)
}

fn literal(value: &Option<String>) -> Sql {
    value.as_ref().map_or_else(|| Sql::trusted("NULL"), |value| Sql::literal(value))
}

/// A statement with its values in their places.
fn filled(sql: &str, kinds: &[Type], values: &[Option<String>]) -> String {
    let mut filled = sql.to_owned();
    for (piece, place) in pieces(sql).into_iter().rev() {
        let Piece::Number(number) = piece else { continue };
        let Some(at) = number.checked_sub(1).filter(|at| *at < values.len()) else { continue };
        let kind = Sql::qualified(kinds[at].schema(), kinds[at].name());
        filled.replace_range(place, &format!("({}::{kind})", literal(&values[at])));
    }
    filled
}

async fn run(client: &Client, sql: &str, columns: Vec<Column>) -> Result<Found, Refused> {
    let mut room = FOUND_BYTES_MAX;
    Ok(run_all(client, sql, &columns, &mut room).await?.pop().unwrap_or_default())
}

/// What each of several statements came to; `room`: so many bytes they may find.
async fn run_all(client: &Client, sql: &str, columns: &[Column], room: &mut usize) -> Result<Vec<Found>, Refused> {
    let next = || Found { columns: columns.to_vec(), ..Found::default() };
    let (mut all, mut found, mut is_full) = (Vec::new(), next(), false);
    let mut messages = std::pin::pin!(client.simple_query_raw(sql).await.map_err(refused)?);
    while let Some(message) = messages.try_next().await.map_err(refused)? {
        match message {
            SimpleQueryMessage::Row(row) => {
                let values: Vec<Option<String>> = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
                let bytes = values.iter().flatten().map(String::len).sum::<usize>() + 24 * values.len();
                match room.checked_sub(bytes).filter(|_| !is_full) {
                    Some(left) => {
                        *room = left;
                        found.rows.push(values);
                    }
                    None => {
                        is_full = true;
                        all.clear();
                        found.rows.clear();
                    }
                }
            }
            SimpleQueryMessage::CommandComplete(count) => {
                found.count = count;
                all.push(std::mem::replace(&mut found, next()));
            }
            _ => {}
        }
    }
    if is_full {
        let megabytes = FOUND_BYTES_MAX >> 20;
        let message = format!("it found more than {megabytes} MB: ask for less at a time");
        return Err(Refused { message, ..Refused::default() });
    }
    Ok(all)
}

/// All that a server says, line by line.
fn full(error: &DbError) -> String {
    let mut full = error.message().to_owned();
    for (word, more) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
        full.extend(more.map(|more| format!("\n{word}:  {more}")));
    }
    full
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: tokio_postgres::Error) -> Refused {
    match error.as_db_error() {
        Some(db) => Refused {
            message: db.detail().map_or_else(|| db.message().to_owned(), |more| format!("{}; {more}", db.message())),
            sqlstate: Some(db.code().code().to_owned()),
            full: Some(full(db)),
        },
        None => Refused { message: causes(&error), ..Refused::default() },
    }
}
