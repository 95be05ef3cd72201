//! Brings the tables of a batch to a target: deletes the changed keys there, copies their present rows.

use bucardo_actors::model::GoatCounts;
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use postgres_types::Oid;
use tokio_postgres::Row;

use super::batch::{Batch, Truncated};
use super::copy::{covers, together};
use super::error::RoundError;
use super::guard;
use super::intake::Intake;
use super::onward;
use super::round::{Round, step};
use super::site::{Site, pour};
use super::step::Step;
use super::table::{FEW, Ready, Table};
use crate::pg::{Sql, SqlFile};

const CHANGES: SqlFile = SqlFile::new(include_str!("../../sql/engine/changes.sql"));
const PLAN_FREELY: SqlFile = SqlFile::new(include_str!("../../sql/engine/plan_freely.sql"));

/// Counts of a delivered batch.
#[derive(Default)]
pub(super) struct Applied {
    pub(super) deletes: u64,
    pub(super) inserts: u64,
    pub(super) truncates: u64,
    pub(super) keys: u64,
    pub(super) goats: Vec<GoatCounts>,
    /// When the oldest delivered change was made.
    pub(super) oldest: Option<DateTime<Utc>>,
}

impl Applied {
    /// Counts a table in whose `changes` the keys were asked for.
    pub(super) fn add(&mut self, table: &Table, moved: &Moved, changes: &Row) {
        let Moved { keys, deletes, inserts } = *moved;
        self.goats.push(GoatCounts { goat: table.goat.id, keys, deletes, inserts });
        self.keys += moved.keys;
        self.deletes += moved.deletes;
        self.inserts += moved.inserts;
        self.oldest = [self.oldest, changes.get("oldest")].into_iter().flatten().min();
    }
}

pub(super) enum Ended {
    Done(Applied),
    /// The definition of this table is not the one that its statements were made for.
    Changed(String),
}

/// Delivers the batch, table by table, in order.
pub(super) async fn batch(round: &mut Round<'_>, batch: &Batch) -> Result<Ended, RoundError> {
    for place in &batch.tables {
        let session = &mut *round.session;
        if session.tables[*place].ready.is_none() {
            let table = &session.tables[*place];
            let ready = table.prepare(&session.source, &session.target, session.questions.as_ref()).await;
            let ready = ready.map_err(|error| error.of_table(&table.label))?;
            session.tables[*place].ready = Some(ready);
        }
    }
    let changes = keys(round, batch).await?;
    let mut applied = Applied::default();
    for (place, changes) in batch.tables.iter().zip(&changes) {
        let table = &mut round.session.tables[*place];
        if !table.ready.as_ref().is_some_and(|ready| ready.is_current(changes)) {
            table.ready = None;
            return Ok(Ended::Changed(table.label.clone()));
        }
    }
    tell(round, &batch.tables, &changes).await?;
    round.at_first_change().await?;
    applied.truncates = truncate(round, &batch.tables, &batch.look.truncated).await?;
    let mut brought: Vec<_> = batch.tables.iter().zip(&changes).collect();
    // Of constraints that are checked late, others' rows count.
    brought.sort_by_key(|(place, _)| round.is_late_with(&round.session.tables[**place].label));
    for (place, changes) in brought {
        let table = &round.session.tables[*place];
        let Some(ready) = &table.ready else { continue };
        let label = table.label.clone();
        let moved = if guard::is_guarded(round, &table.goat) {
            Box::pin(guard::bring(round, *place, changes)).await
        } else {
            bring(round, table, ready, changes).await
        };
        let moved = moved.map_err(|error| error.of_table(&label))?;
        applied.add(&round.session.tables[*place], &moved, changes);
        round.written(*place, moved.deletes, moved.inserts);
        round.at_table(*place).await?;
    }
    if let Some(table) = onward::confirm(round.session, &batch.tables).await? {
        return Ok(Ended::Changed(table));
    }
    Ok(Ended::Done(applied))
}

/// Brings the changes of one table.
pub(super) async fn bring(round: &Round<'_>, table: &Table, ready: &Ready, changes: &Row) -> Result<Moved, RoundError> {
    step(round.watch, Step::Keys(&table.label)).await?;
    if changes.get::<_, i64>("changes") > FEW {
        many(round, table, ready).await
    } else {
        few(round, table, ready, changes).await
    }
}

/// The changed keys of every table, all asked for at once.
async fn keys(round: &Round<'_>, batch: &Batch) -> Result<Vec<Row>, RoundError> {
    let source = &round.session.source;
    let limit = &keys_limit(round);
    try_join_all(batch.tables.iter().filter_map(|place| {
        let table = &round.session.tables[*place];
        let ready = table.ready.as_ref()?;
        Some(async move {
            let found = source.conn.query_one(&ready.keys, &[limit]).await;
            let found = found.map_err(source.failed(format!("reading changed keys of table \"{}\"", table.label)));
            found.map_err(|error| error.of_table(&table.label))
        })
    }))
    .await
}

/// So many changed keys of a table are asked for.
pub(super) fn keys_limit(round: &Round<'_>) -> i64 {
    round.hooks.as_ref().map_or(FEW, |hooks| hooks.keys_max(FEW)) + 1
}

/// Tells codes which keys of the tables in these places were changed.
pub(super) async fn tell(round: &mut Round<'_>, places: &[usize], changes: &[Row]) -> Result<(), RoundError> {
    let Some(hooks) = round.hooks.as_mut().filter(|hooks| hooks.hear_of_changes()) else { return Ok(()) };
    let source = &round.session.source;
    let limit = hooks.keys_max(FEW);
    for (place, changes) in places.iter().zip(changes) {
        let table = &round.session.tables[*place];
        let mut count: i64 = changes.get("changes");
        if count > limit {
            let sql = CHANGES.fill(&[("delta", &table.delta), ("readable", &table.news)]);
            let counted = source.conn.query_one(&sql, &[]).await;
            let failed = source.failed(format!("counting the changes of table \"{}\"", table.label));
            count = counted.map_err(failed)?.get("changes");
        }
        let columns = (0..table.goat.key.len()).map(|place| {
            changes.get::<_, Option<Vec<Option<String>>>>(format!("a{place}").as_str()).unwrap_or_default()
        });
        hooks.changed(&table.goat, count.unsigned_abs(), columns.collect());
    }
    Ok(())
}

/// Empties the tables that were truncated, before any is written to: all that no foreign key from elsewhere points at by
/// one `TRUNCATE`, which those that point at each other allow only together; the others by `DELETE`, which leaves alone
/// what points at them. Returns how many.
pub(super) async fn truncate(round: &Round<'_>, places: &[usize], events: &[Truncated]) -> Result<u64, RoundError> {
    let target = &round.session.target;
    let tables = places.iter().map(|place| &round.session.tables[*place]);
    let tables = tables.filter(|table| events.iter().any(|event| event.captured == table.captured));
    let tables: Vec<(&Table, &Ready)> = tables.filter_map(|table| Some((table, table.ready.as_ref()?))).collect();
    for (table, ready) in &tables {
        let events = events.iter().filter(|event| event.captured == table.captured);
        let handed_on = ready.onward.truncate(target, round.session.questions.as_ref(), events).await;
        handed_on.map_err(target.failed(format!("handing on a truncate of table \"{}\"", table.label)))?;
    }
    if tables.is_empty() {
        return Ok(0);
    }
    let oids: Vec<Oid> = tables.iter().map(|(_, ready)| ready.emptying.oid).collect();
    let at_once = together(&covers(target, &oids).await?);
    let names = |truncated: bool| {
        let chosen = tables.iter().zip(&at_once).filter(move |(_, together)| **together == truncated);
        chosen.map(|((table, ready), _)| (&table.label, &ready.emptying.table))
    };
    for (label, table) in names(false) {
        let emptied = target.run(&format!("emptying table \"{label}\""), &format!("DELETE FROM {table}")).await;
        emptied.map_err(|error| error.of_table(label))?;
    }
    let truncated: Vec<_> = names(true).collect();
    if !truncated.is_empty() {
        let labels: Vec<&str> = truncated.iter().map(|(label, _)| label.as_str()).collect();
        let tables = Sql::join(truncated.iter().map(|(_, table)| (*table).clone()), ", ");
        let emptied = target.run(&format!("truncating {}", labels.join(", ")), &format!("TRUNCATE {tables}")).await;
        emptied.map_err(|error| if let [one] = *labels { error.of_table(one) } else { error })?;
    }
    Ok(u64::try_from(tables.len()).unwrap_or(u64::MAX))
}

/// Rows of one table.
pub(super) struct Moved {
    pub(super) keys: u64,
    pub(super) deletes: u64,
    pub(super) inserts: u64,
}

/// A few keys: parameters of one `DELETE`.
async fn few(round: &Round<'_>, table: &Table, ready: &Ready, changes: &Row) -> Result<Moved, RoundError> {
    let (source, target, label) = (&round.session.source, &round.session.target, &table.label);
    let arrays: Vec<Vec<String>> = (0..table.goat.key.len())
        .map(|place| changes.get::<_, Option<Vec<String>>>(format!("a{place}").as_str()).unwrap_or_default())
        .collect();
    let args: Vec<&(dyn postgres_types::ToSql + Sync)> =
        arrays.iter().map(|array| array as &(dyn postgres_types::ToSql + Sync)).collect();
    let origins: Vec<String> = listed(changes, table, "origins");
    let times: Vec<DateTime<Utc>> = listed(changes, table, "times");
    let own: [&(dyn postgres_types::ToSql + Sync); 2] = [&origins, &times];
    let onward_args = [args.as_slice(), &own].concat();
    let handing_on = || target.failed(format!("handing on changes of table \"{label}\""));
    // A connection that waits for rows to write sends no other statement, and keys of rows must be looked up before these
    // go: what cannot be sent in one breath with them goes first.
    // Nor is it of further use when it asks to write rows after a statement that was refused: keys may be none for the
    // types of the target.
    let is_wary = round.has_letters || round.doubted.contains(label) || round.quarantine.has(label);
    let goes_first = is_wary || ready.onward.is_of_several();
    if goes_first {
        ready.onward.few(target, &onward_args, false).await.map_err(handing_on())?;
    }
    let deleting = || target.failed(format!("deleting changed rows of table \"{label}\""));
    let before = match is_wary {
        true => Some(target.conn.execute(&ready.delete_few, &args).await.map_err(deleting())?),
        false => None,
    };
    let (rows, handed_on, deleted, sink) = tokio::join!(
        source.conn.copy_out_in_pieces(&ready.rows_few),
        async { if goes_first { Ok(()) } else { ready.onward.few(target, &onward_args, false).await } },
        async {
            match before {
                Some(deleted) => Ok(deleted),
                None => target.conn.execute(&ready.delete_few, &args).await,
            }
        },
        Intake::open(target, format!("writing rows of table \"{label}\""), &ready.rows_in),
    );
    handed_on.map_err(handing_on())?;
    let deletes = deleted.map_err(deleting())?;
    step(round.watch, Step::Deleted(label)).await?;
    let rows = rows.map_err(source.failed(format!("reading rows of table \"{label}\"")))?;
    let inserts = pour(label, source, rows, sink?, round.watch).await?;
    ready.onward.few(target, &onward_args, true).await.map_err(handing_on())?;
    step(round.watch, Step::Copied(label)).await?;
    let keys = changes.get::<_, i64>("changes").unsigned_abs();
    Ok(Moved { keys, deletes, inserts })
}

/// What the changes of a table come with where they are handed on.
pub(super) fn listed<'a, T: postgres_types::FromSql<'a>>(changes: &'a Row, table: &Table, name: &str) -> Vec<T> {
    let listed = table.handed_on.as_ref().and_then(|_| changes.get::<_, Option<Vec<T>>>(name));
    listed.unwrap_or_default()
}

/// Many keys: through keys tables on both sides, in constant memory here.
///
/// The rows are asked for only when the target has deleted: a server that waits for us to take its rows gives the
/// connection up after `tcp_user_timeout`.
async fn many(round: &Round<'_>, table: &Table, ready: &Ready) -> Result<Moved, RoundError> {
    let (source, target, label) = (&round.session.source, &round.session.target, &table.label);
    let reading = || source.failed(format!("reading changed keys of table \"{label}\""));
    let keeping = || target.failed(format!("keeping changed keys of table \"{label}\""));
    let (on_source, on_target) = tokio::join!(
        run_all(source, [PLAN_FREELY.text(), &ready.keeping]),
        run_all(target, [PLAN_FREELY.text(), &ready.keys_table]),
    );
    on_source.map_err(reading())?;
    on_target.map_err(keeping())?;
    let kept = format!("keeping changed keys of table \"{label}\"");
    let (keys, sink) = tokio::join!(
        source.conn.copy_out_in_pieces(&ready.keys_out),
        Intake::prepare(target, kept, &ready.keys_in, false),
    );
    let keys = pour(label, source, keys.map_err(reading())?, sink?, round.watch).await?;
    let (known, deletes) = tokio::join!(run_all(source, [&ready.analyze_keys]), async {
        run_all(target, [&ready.analyze_keys]).await?;
        ready.onward.many(target, false).await?;
        target.conn.execute(&ready.delete_many, &[]).await
    });
    known.map_err(reading())?;
    let deletes = deletes.map_err(target.failed(format!("deleting changed rows of table \"{label}\"")))?;
    step(round.watch, Step::Deleted(label)).await?;
    let (rows, sink) = tokio::join!(
        source.conn.copy_out_in_pieces(&ready.rows_out),
        Intake::open(target, format!("writing rows of table \"{label}\""), &ready.rows_in),
    );
    let rows = rows.map_err(source.failed(format!("reading rows of table \"{label}\"")))?;
    let inserts = pour(label, source, rows, sink?, round.watch).await?;
    let handed_on = ready.onward.many(target, true).await;
    handed_on.map_err(target.failed(format!("handing on changes of table \"{label}\"")))?;
    step(round.watch, Step::Copied(label)).await?;
    Ok(Moved { keys, deletes, inserts })
}

async fn run_all<const N: usize>(site: &Site, statements: [&str; N]) -> Result<(), tokio_postgres::Error> {
    for sql in statements {
        site.conn.batch_execute(sql).await?;
    }
    Ok(())
}
