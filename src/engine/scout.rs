//! Who asks a source which tables have unread changes, and where its sequences stand.
//!
//! One statement that names every table holds a lock on each, and in the round's transaction holds it to the end; the
//! server has room for a limited number (`max_locks_per_transaction`, manual, chapter "Lock Management"). So a sync of
//! many relations sends a scout: a session of its own that asks in pieces, each a transaction of its own, *after* the
//! round's snapshot was taken. It sees at least what the snapshot sees, and what it sees beyond, the round does not find.
//!
//! To ask a table costs the server some twenty microseconds, changed or not. Most of many tables are idle, and their delta
//! tables have no page, which is seen without asking them. That takes two or three microseconds of each, for which two
//! sessions share very many.

use futures_util::future::{join_all, try_join_all};
use tokio_postgres::{Row, Statement};

use super::error::RoundError;
use super::session::{SESSION_SOURCE, SINCE};
use super::site::Site;
use crate::catalog::SyncDetail;
use crate::pg::{Sql, SqlFile};

const WRITTEN: SqlFile = SqlFile::new(include_str!("../../sql/engine/written.sql"));

/// Relations that one statement names at most.
pub(super) const PIECE: usize = 200;
/// Of more tables than this, a second session looks at one half.
const HALVED_MIN: usize = 400;
/// With more delta tables than this that have pages, the statements that are prepared for all tables are cheaper.
const WRITTEN_MAX: usize = 50;

/// The questions, and the session that asks them.
pub(super) struct Scout {
    /// `None`: few relations; the round asks by itself.
    apart: Option<Apart>,
    tables: Vec<Statement>,
    sequences: Vec<Statement>,
}

/// A session that asks by itself.
struct Apart {
    site: Site,
    since: Statement,
    written: Statement,
    /// Who looks at the other half of the tables.
    helper: Option<(Site, Statement)>,
    /// The question about each table.
    tables: Vec<Sql>,
    guess: Option<Guess>,
}

/// The question about those tables of which anything was captured when it was last seen.
struct Guess {
    places: Vec<usize>,
    asking: Statement,
}

impl Scout {
    /// Prepares the questions, on `source` when they are few, else on sessions of their own, called `name`. `deltas` are
    /// the delta tables of `tables`.
    pub(super) async fn open(
        (sync, name): (&SyncDetail, &str),
        source: &Site,
        deltas: &[Sql],
        tables: &[Sql],
        sequences: &[Sql],
    ) -> Result<Self, RoundError> {
        // Where there is no room for one more session, it goes without.
        let dial = async || {
            let site = match Site::spare(sync, &source.db, name).await {
                Err(RoundError::NoRoom { .. }) => return Ok(None),
                site => site?,
            };
            site.run("setting up the session", SESSION_SOURCE.text()).await?;
            Ok::<_, RoundError>(Some(site))
        };
        let site = if tables.len() + sequences.len() > PIECE { dial().await? } else { None };
        let helper = if tables.len() > HALVED_MIN && site.is_some() { dial().await? } else { None };
        let asking = site.as_ref().unwrap_or(source);
        let prepare = |branches: &[Sql]| {
            let pieces = branches.chunks(PIECE).map(|piece| Sql::join(piece.iter().cloned(), "\nUNION ALL\n"));
            let pieces: Vec<Sql> = pieces.collect();
            async move {
                try_join_all(pieces.iter().map(|sql| async {
                    asking.conn.prepare(sql.as_str()).await.map_err(asking.failed("preparing to look for changes"))
                }))
                .await
            }
        };
        let (pieces, sequences) = (prepare(tables).await?, prepare(sequences).await?);
        let apart = match site {
            Some(site) => Some(Apart::open(site, helper, deltas, tables).await?),
            None => None,
        };
        Ok(Self { tables: pieces, sequences, apart })
    }

    /// Asks in the round's transaction, or answers nothing when a scout does it.
    pub(super) async fn here(&self, source: &Site) -> Result<Found, RoundError> {
        if self.apart.is_some() { Ok(Found::default()) } else { self.ask(source, &self.tables).await }
    }

    /// Asks by the scout, if there is one, what changed since this position; after the round's snapshot was taken.
    pub(super) async fn apart(&mut self, since: [&str; 2]) -> Result<Option<Found>, RoundError> {
        let Some(Apart { site, since: set, written, helper, tables, guess }) = &mut self.apart else { return Ok(None) };
        let site = &*site;
        let failed = || site.failed("looking for changes");
        // Mostly the tables that had changes before are those that have some now, so they are asked in the same breath.
        let (set, written, others, guessed) = tokio::join!(
            async { site.conn.query_one(&*set, &[&since[0], &since[1], &false]).await },
            async { site.conn.query(&*written, &[]).await.map_err(failed()) },
            async {
                match &*helper {
                    Some((site, written)) => {
                        site.conn.query(written, &[]).await.map_err(site.failed("looking for changes"))
                    }
                    None => Ok(Vec::new()),
                }
            },
            async {
                match &*guess {
                    Some(guess) => site.conn.query(&guess.asking, &[]).await,
                    None => Ok(Vec::new()),
                }
            },
        );
        set.map_err(failed())?;
        let guessed = guessed.map_err(failed())?;
        let mut written = written?;
        written.extend(others?);
        let places = written.iter().filter_map(|row| usize::try_from(row.get::<_, i32>("place")).ok());
        let places: Vec<usize> = places.collect();
        let found = if places.len() > WRITTEN_MAX {
            *guess = None;
            return self.ask_apart(true).await;
        } else if guess.as_ref().is_some_and(|guess| places.iter().all(|place| guess.places.contains(place))) {
            guessed
        } else if places.is_empty() {
            Vec::new()
        } else {
            let branches = places.iter().filter_map(|place| tables.get(*place).cloned());
            let sql = Sql::join(branches, "\nUNION ALL\n");
            let asking = site.conn.prepare(sql.as_str()).await.map_err(failed())?;
            let found = site.conn.query(&asking, &[]).await.map_err(failed())?;
            *guess = Some(Guess { places, asking });
            found
        };
        let rest = self.ask_apart(false).await?;
        Ok(rest.map(|rest| Found { tables: found, ..rest }))
    }

    /// Asks by the scout about all tables, if so, and about the sequences.
    async fn ask_apart(&self, with_tables: bool) -> Result<Option<Found>, RoundError> {
        let Some(apart) = &self.apart else { return Ok(None) };
        let tables = if with_tables { self.tables.as_slice() } else { &[] };
        self.ask(&apart.site, tables).await.map(Some)
    }

    /// Asks about these pieces of the tables, and about the sequences.
    async fn ask(&self, site: &Site, tables: &[Statement]) -> Result<Found, RoundError> {
        let all = tables.iter().chain(&self.sequences);
        let answers = join_all(all.map(|statement| site.conn.query(statement, &[]))).await;
        let mut found = Found::default();
        for (place, answer) in answers.into_iter().enumerate() {
            let rows = answer.map_err(site.failed("looking for changes"))?;
            let to = if place < tables.len() { &mut found.tables } else { &mut found.sequences };
            to.extend(rows);
        }
        Ok(found)
    }
}

impl Apart {
    async fn open(site: Site, helper: Option<Site>, deltas: &[Sql], tables: &[Sql]) -> Result<Self, RoundError> {
        debug_assert_eq!(deltas.len(), tables.len());
        let half = if helper.is_some() { deltas.len().div_ceil(2) } else { deltas.len() };
        let (own, others) = deltas.split_at(half);
        let since = site.conn.prepare(SINCE.text()).await.map_err(site.failed("preparing to look for changes"))?;
        let written = written(&site, own, 0).await?;
        let helper = match helper {
            Some(site) => {
                let written = self::written(&site, others, half).await?;
                Some((site, written))
            }
            None => None,
        };
        Ok(Self { site, since, written, helper, tables: tables.to_vec(), guess: None })
    }
}

/// Prepares to look which of some delta tables have pages. `first`: the place of the first one.
async fn written(site: &Site, deltas: &[Sql], first: usize) -> Result<Statement, RoundError> {
    let deltas = deltas.iter().map(|delta| Sql::literal(delta.as_str()));
    let first = Sql::trusted(first.to_string());
    let written = WRITTEN.fill(&[("deltas", &Sql::join(deltas, ", ")), ("first", &first)]);
    site.conn.prepare(&written).await.map_err(site.failed("preparing to look for changes"))
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tables: Vec<Row>,
    pub(super) sequences: Vec<Row>,
}
