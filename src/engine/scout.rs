//! Who asks a source which tables have unread changes, and where its sequences stand.
//!
//! One statement that names every table holds a lock on each, and in the round's transaction holds it to the end; the
//! server has room for a limited number (`max_locks_per_transaction`, manual, chapter "Lock Management"). So a sync of
//! many relations sends a scout: a session of its own that asks in pieces, each a transaction of its own, *after* the
//! round's snapshot was taken. It sees at least what the snapshot sees, and what it sees beyond, the round does not find.

use futures_util::future::{join_all, try_join_all};
use tokio_postgres::{Row, Statement};

use super::error::RoundError;
use super::session::SINCE;
use super::site::Site;
use crate::pg::Sql;

/// Relations that one statement names at most.
pub(super) const PIECE: usize = 200;

/// The questions, and the session that asks them.
pub(super) struct Scout {
    /// `None`: few relations; the round asks by itself.
    apart: Option<(Site, Statement)>,
    tables: Vec<Statement>,
    sequences: Vec<Statement>,
}

impl Scout {
    /// Prepares the questions, on `site` if there is one, else on `source`.
    pub(super) async fn open(
        source: &Site,
        site: Option<Site>,
        tables: &[Sql],
        sequences: &[Sql],
    ) -> Result<Self, RoundError> {
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
        let (tables, sequences) = (prepare(tables).await?, prepare(sequences).await?);
        let since = asking.conn.prepare(SINCE.text()).await.map_err(asking.failed("preparing to look for changes"))?;
        Ok(Self { tables, sequences, apart: site.map(|site| (site, since)) })
    }

    /// Asks in the round's transaction, or answers nothing when a scout does it.
    pub(super) async fn here(&self, source: &Site) -> Result<Found, RoundError> {
        if self.apart.is_some() { Ok(Found::default()) } else { self.ask(source).await }
    }

    /// Asks by the scout, if there is one, what changed since this position; after the round's snapshot was taken.
    pub(super) async fn apart(&self, since: [&str; 2]) -> Result<Option<Found>, RoundError> {
        let Some((site, statement)) = &self.apart else { return Ok(None) };
        let set = site.conn.query_one(statement, &[&since[0], &since[1], &false]).await;
        set.map_err(site.failed("looking for changes"))?;
        Ok(Some(self.ask(site).await?))
    }

    async fn ask(&self, site: &Site) -> Result<Found, RoundError> {
        let all = self.tables.iter().chain(&self.sequences);
        let answers = join_all(all.map(|statement| site.conn.query(statement, &[]))).await;
        let mut found = Found::default();
        for (place, answer) in answers.into_iter().enumerate() {
            let rows = answer.map_err(site.failed("looking for changes"))?;
            let to = if place < self.tables.len() { &mut found.tables } else { &mut found.sequences };
            to.extend(rows);
        }
        Ok(found)
    }
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tables: Vec<Row>,
    pub(super) sequences: Vec<Row>,
}
