//! What a session looks at now and then, between two rounds: is every change of its tables captured, also in partitions
//! that came later, and are the target's tables still those that the statements were made for?

use std::time::{Duration, Instant};

use bucardo_actors::model::Reason;
use bucardo_actors::ports::Watch;
use tokio_postgres::error::SqlState;

use super::drift::Drift;
use super::error::RoundError;
use super::session::Session;
use super::site::Site;
use crate::catalog::{Goat, SyncDetail};
use crate::pg::{RelationName, SqlFile, causes};
use crate::source::{adopt as capture_partitions, relations};

const UNCAPTURED: SqlFile = SqlFile::new(include_str!("../../sql/engine/uncaptured.sql"));

/// How often, unless a person asks.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(60);
/// How often a statement that takes its time is told to be at work.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// What the source says of the capture of some tables.
#[derive(Default)]
pub(super) struct Uncaptured {
    /// Places of tables whose changes are not captured, or under another name.
    pub(super) drifts: Vec<(usize, Drift)>,
    /// Places of tables with a partition that is not captured yet, and its name.
    pub(super) partitions: Vec<(usize, String)>,
    /// Those of the drifts that end when the table is captured anew: it belongs to another one by now.
    pub(super) joined: Vec<usize>,
}

impl Session {
    /// Has partitions that came later captured and their rows noted as changed; forgets statements that the target's
    /// definitions have outdated; returns the tables whose changes are not captured. Runs in no transaction.
    pub(super) async fn check(
        &mut self,
        sync: &SyncDetail,
        reason: Reason,
        watch: &Watch,
    ) -> Result<Vec<Drift>, RoundError> {
        if reason != Reason::Request && self.checked.is_some_and(|at| at.elapsed() < CHECK_EVERY) {
            return Ok(Vec::new());
        }
        let captured: Vec<i32> = self.tables.iter().map(|table| table.captured).collect();
        let Uncaptured { drifts, partitions, .. } = uncaptured(&self.source, &captured).await?;
        for (place, partition) in partitions {
            adopt(&mut self.source, sync, &self.tables[place].goat, &partition, watch).await;
        }
        self.forget_outdated().await?;
        self.checked = Some(Instant::now());
        let named = drifts.into_iter().map(|(place, drift)| Drift { table: self.tables[place].label.clone(), ..drift });
        Ok(named.collect())
    }

    /// The source tells with every round whether a table changed there. The target is asked now and then: statements
    /// that were made for another definition are made anew, and meet what differs.
    async fn forget_outdated(&mut self) -> Result<(), RoundError> {
        let tables: Vec<usize> = (0..self.tables.len()).filter(|place| self.tables[*place].ready.is_some()).collect();
        if tables.is_empty() {
            return Ok(());
        }
        let goats: Vec<Goat> = tables.iter().map(|place| self.tables[*place].there.clone()).collect();
        let found = relations(&self.target.conn, &goats).await;
        let found = found.map_err(self.target.failed("reading the definitions of the tables"))?;
        for (place, relation) in tables.into_iter().zip(found) {
            let ready = &mut self.tables[place].ready;
            if ready.as_ref().is_some_and(|ready| ready.there != relation) {
                *ready = None;
            }
        }
        Ok(())
    }
}

/// Asks a source about tables, by its numbers of them; what it says has the places of these, and names of its own.
pub(super) async fn uncaptured(source: &Site, captured: &[i32]) -> Result<Uncaptured, RoundError> {
    let db = &source.db;
    let rows = source.conn.query(UNCAPTURED.text(), &[&captured]).await.map_err(|error| match error.code() {
        Some(&SqlState::UNDEFINED_TABLE) => {
            RoundError::NotInstalled { what: "table bucardo.conflict_kept".to_owned(), db: db.clone() }
        }
        _ => source.failed("looking whether changes are captured")(error),
    })?;
    let mut found = Uncaptured::default();
    for row in &rows {
        let id: i32 = row.get("id");
        let Some(place) = captured.iter().position(|it| *it == id) else { continue };
        if let Some(partition) = row.get("partition") {
            found.partitions.push((place, partition));
            continue;
        }
        let (why, whole) = match row.get("why") {
            "gone" => (format!("it does not exist on database \"{db}\""), true),
            "key" => (
                format!("its trigger \"bucardo_delta_key\" is missing on database \"{db}\": run bucardo validate"),
                false,
            ),
            "renamed" => (format!("it has another name on database \"{db}\""), false),
            "anew" => (
                format!(
                    "it was made anew on database \"{db}\", and its changes are not captured: run bucardo validate"
                ),
                true,
            ),
            "number" => (
                format!(
                    "it was made anew on database \"{db}\", and its changes are captured anew since: what it has is copied"
                ),
                true,
            ),
            "joined" => {
                found.joined.push(place);
                let why =
                    "it belongs to another table by now, whose statements change its rows and do not fire its triggers";
                (format!("{why}, on database \"{db}\": run bucardo validate"), true)
            }
            _ => (
                format!("capture of its changes is missing on database \"{db}\", or disabled: run bucardo validate"),
                true,
            ),
        };
        let names: [Option<&str>; 2] = [row.get("schemaname"), row.get("tablename")];
        let table = names.map(Option::unwrap_or_default);
        let table = RelationName::of(table[0], table[1]).to_string();
        found.drifts.push((place, Drift { table, why, whole, by_statement: false }));
    }
    Ok(found)
}

/// Has a table captured row by row that belongs to another one by now; the target must know before that it misses
/// changes. False: it did not succeed, which is told; it is tried again.
pub(super) async fn recapture(source: &mut Site, sync: &SyncDetail, goat: &Goat) -> bool {
    let (db, table) = (&source.db, goat.label());
    match capture_partitions(&mut source.conn, sync, goat).await {
        Ok(_) => {
            tracing::info!(%db, table, "the table, which belongs to another one by now, is captured row by row; it is copied");
            true
        }
        Err(error) => {
            let cause = causes(&error);
            let hint = "it is tried again; or run: bucardo validate all";
            tracing::warn!(%db, table, cause, hint, "changes by statements on the table that it belongs to are not captured");
            false
        }
    }
}

/// Has the partitions of a table captured. That it does not succeed, for a lock that others hold, is told; it is tried
/// again the next time.
pub(super) async fn adopt(source: &mut Site, sync: &SyncDetail, goat: &Goat, partition: &str, watch: &Watch) {
    let db = &source.db;
    let mut signs = tokio::time::interval(SIGN_OF_LIFE);
    let work = capture_partitions(&mut source.conn, sync, goat);
    tokio::pin!(work);
    let adopted = loop {
        tokio::select! {
            adopted = &mut work => break adopted,
            _ = signs.tick() => watch.moved(1),
        }
    };
    match adopted {
        Ok(rows) => {
            tracing::info!(%db, partition, rows, "a partition that came later is captured; its rows are delivered");
        }
        Err(error) => {
            let cause = causes(&error);
            let hint = "it is tried again within a minute; or run: bucardo validate all";
            tracing::warn!(%db, partition, cause, hint, "changes that name this partition, not its parent, are not captured");
        }
    }
}
