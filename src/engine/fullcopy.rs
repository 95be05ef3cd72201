//! The rounds of a database with the role fullcopy: every one copies every table whole, in one transaction, from one
//! snapshot of the source.
//!
//! A table whose definitions differ is passed over, and tried with the next copy; the difference is told.
//!
//! Nothing is captured for it, and the source keeps nothing of it. Copies come when somebody asks for them or the
//! sync's own timer does, so each one connects anew, and tables need no key.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bucardo_actors::model::{Fault, Pair, Quarantined, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::begin::Begin;
use super::copy::{Copied, Copier};
use super::drift::{Drift, remedy};
use super::error::RoundError;
use super::hooks::{Hooks, Scene, left};
use super::onward;
use super::pleas::{Pleas, may_spare};
use super::round::{Held, fence, step};
use super::scout::PIECE;
use super::sequences::Sequences;
use super::session::{ADVANCE, FENCE, check_places, release};
use super::site::Site;
use super::step::Step;
use crate::catalog::{Goat, SyncDetail};
use crate::custom::{Codes, Hook};
use crate::pg::{Sql, SqlFile};

const SNAPSHOT: SqlFile = SqlFile::new(include_str!("../../sql/source/snapshot.sql"));

/// So many copies follow one another at most because codes ask for it (`runagain`).
const AGAIN_MAX: u32 = 3;

/// The rounds of one KID that makes whole copies.
pub struct CopySession {
    copies: Copies,
    hooks: Option<Box<Hooks>>,
    /// Copies in a row that codes asked for.
    again: u32,
}

/// Between which databases the copies are made.
struct Copies {
    sync: Arc<SyncDetail>,
    id: Pair,
}

impl CopySession {
    /// Makes the whole copies from one source to one database; connecting is part of every round.
    #[must_use]
    pub fn new(sync: Arc<SyncDetail>, id: Pair) -> Self {
        Self { copies: Copies { sync, id }, hooks: None, again: 0 }
    }

    /// The same, with the custom codes of the sync.
    #[must_use]
    pub fn with_codes(mut self, codes: Option<Codes>) -> Self {
        let id = &self.copies.id;
        self.hooks = codes.map(|codes| Box::new(Hooks::new(codes, Some(&id.source), Some(&id.target))));
        self
    }

    async fn run(&mut self, reason: Reason, watch: &Watch) -> Result<RoundReport, RoundError> {
        let Some(hooks) = self.hooks.as_deref_mut() else { return self.copies.tries(watch, None).await };
        hooks.begin_round();
        hooks.outside(Hook::BeforeTxn, watch).await?;
        let mut report = self.copies.tries(watch, Some(&mut *hooks)).await?;
        hooks.after(watch).await?;
        let wants_more = hooks.runs_again();
        if !matches!(reason, Reason::More) {
            self.again = 0;
        }
        if wants_more && report.deletes + report.inserts > 0 {
            // A copy copies whatever is there, so there is always something that it did.
            if self.again < AGAIN_MAX {
                self.again += 1;
                report.more = true;
            } else {
                let (kid, copies) = (&self.copies.id, AGAIN_MAX);
                tracing::warn!(%kid, copies, "custom codes asked for one copy after the other (runagain): the next one waits for its time");
            }
        }
        Ok(report)
    }
}

impl Copies {
    async fn tries(&self, watch: &Watch, mut hooks: Option<&mut Hooks>) -> Result<RoundReport, RoundError> {
        let began = Instant::now();
        let (sync, id) = (&self.sync, &self.id);
        let name = format!("bucardo KID {id}");
        let connect = async || {
            let sites = tokio::try_join!(Site::of(sync, &id.source, &name), Site::of(sync, &id.target, &name))?;
            tokio::try_join!(sites.0.remember(sync), sites.1.remember(sync))?;
            Ok::<_, RoundError>(sites)
        };
        let (mut source, mut target) = connect().await?;
        let (mut without, mut quarantined, mut pleas) = (Vec::new(), Vec::new(), Pleas::default());
        let mut spares = false;
        loop {
            // Nothing at all is no copy: then the error is told.
            hooks.iter_mut().for_each(|hooks| hooks.begin_try());
            let error = match self.copy((&source, &target, watch), (&without, spares), hooks.as_deref_mut()).await {
                Ok(Copied { deletes, inserts, goats: copies, .. }) => {
                    let took = began.elapsed();
                    return Ok(RoundReport {
                        copied: true,
                        deletes,
                        inserts,
                        took,
                        quarantined,
                        copies,
                        ..RoundReport::default()
                    });
                }
                Err(error) => error,
            };
            release(&source, &target).await;
            if pleas.heed(&error, (sync, &id.source), hooks.as_deref_mut(), watch).await? {
                // A server that refused before it took a row is out of step with its driver.
                drop((source, target));
                (source, target) = connect().await?;
                continue;
            }
            if !spares && may_spare(sync, &error) {
                spares = true;
                (source, target) = connect().await?;
                continue;
            }
            let is_last = without.len() + 1 >= sync.tables().filter(|goat| !goat.ghost).count();
            let drift = Drift::of(&error).filter(|drift| !drift.by_statement && !is_last);
            let Some(Drift { table, why, .. }) = drift else { return Err(error) };
            tracing::warn!(kid = %id, table, why, "quarantined table: it is not copied, the others are");
            quarantined.push(Quarantined {
                relation: table.clone(),
                is_sequence: false,
                db: id.target.clone(),
                since: Some(SystemTime::now()),
                remedy: remedy(&why),
                why,
            });
            without.push(table);
        }
    }

    /// Copies every table but some; `spares`: and but for rows that are refused.
    async fn copy(
        &self,
        (source, target, watch): (&Site, &Site, &Watch),
        (without, spares): (&[String], bool),
        mut hooks: Option<&mut Hooks>,
    ) -> Result<Copied, RoundError> {
        let (sync, id) = (&self.sync, &self.id);
        step(watch, Step::Connected).await?;
        let prepared = target.conn.prepare(FENCE.text()).await;
        let prepared = prepared.map_err(|error| match error.code() {
            Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
                RoundError::NotInstalled { what: "table bucardo.position".to_owned(), db: target.db.clone() }
            }
            _ => target.failed("preparing a copy")(error),
        })?;
        check_places(sync, &sync.tables().collect::<Vec<_>>(), &id.target)?;
        let begin = Begin::copies(sync, &id.target);
        let held = fence(target, &begin.target, &prepared, id).await?;
        step(watch, Step::Fenced).await?;
        source.run("beginning a transaction", &begin.source).await?;
        let here = (source, target, watch);
        at(&mut hooks, Hook::BeforeCheckRows, None, here).await?;
        let snapshot = source.conn.query_one(SNAPSHOT.text(), &[]).await.map_err(source.failed("taking a snapshot"))?;
        step(watch, Step::Snapshot).await?;
        let copier = Copier { sync, source, target, watch, without, spares };
        at(&mut hooks, Hook::BeforeTriggerDisable, None, here).await?;
        at(&mut hooks, Hook::AfterTriggerDisable, None, here).await?;
        let copied = copier.run(id).await?;
        hooks.iter_mut().for_each(|hooks| hooks.written_whole(&copied.goats));
        for goat in sync.tables().filter(|goat| copied.has(goat)) {
            at(&mut hooks, Hook::AfterTableSync, Some(goat), here).await?;
        }
        let tables = sync.tables().filter(|goat| copied.has(goat)).map(|goat| (goat, copied.had_rows(goat)));
        onward::whole(target, sync, &id.source, tables).await?;
        self.sequences(source, target).await?;
        at(&mut hooks, Hook::BeforeTriggerEnable, None, here).await?;
        at(&mut hooks, Hook::AfterTriggerEnable, None, here).await?;
        self.position(target, &held, snapshot.get("snapshot"), &copied).await?;
        step(watch, Step::Positioned).await?;
        target.run("committing", "COMMIT").await?;
        step(watch, Step::TargetCommitted).await?;
        // The snapshot must not hold back the source while the target is tended.
        source.run("ending the reading transaction", "COMMIT").await?;
        copier.tend(&copied).await?;
        Ok(copied)
    }

    async fn sequences(&self, source: &Site, target: &Site) -> Result<(), RoundError> {
        let goats = self.sync.sequences().filter(|goat| !goat.ghost);
        let goats: Vec<(&Goat, Goat)> = goats.map(|goat| (goat, self.sync.goat_on(goat, &target.db))).collect();
        let mut sequences = Sequences::open(&goats, target).await?;
        for piece in sequences.branches().chunks(PIECE) {
            let sql = Sql::join(piece.iter().cloned(), " UNION ALL ");
            let rows = source.conn.query(sql.as_str(), &[]).await.map_err(source.failed("reading sequences"))?;
            sequences.bring(&rows, target, |_| false).await?;
        }
        Ok(())
    }

    /// Writes which snapshot the rows are of, to be committed with them. Whether the source went back in time since the
    /// last copy does not matter to this one.
    async fn position(&self, target: &Site, held: &Held, snapshot: &str, copied: &Copied) -> Result<(), RoundError> {
        let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
        let (deletes, inserts) = (count(copied.deletes), count(copied.inserts));
        let (sync, from, round) = (self.id.sync.as_str(), self.id.source.as_str(), held.round + 1);
        let args: [&(dyn postgres_types::ToSql + Sync); 9] =
            [&sync, &from, &snapshot, &round, &deletes, &inserts, &held.copy_request, &held.system_id, &held.timeline];
        let written = target.conn.query_one(ADVANCE.text(), &args).await;
        written.map(drop).map_err(target.failed("writing the position"))
    }
}

/// Runs the codes of a hook, if there are any.
async fn at(
    hooks: &mut Option<&mut Hooks>,
    hook: Hook,
    goat: Option<&Goat>,
    (source, target, watch): (&Site, &Site, &Watch),
) -> Result<(), RoundError> {
    let Some(hooks) = hooks else { return Ok(()) };
    hooks.inside(hook, goat, Scene { sites: &[source, target], written: &[target], watch }).await
}

impl Rounds for CopySession {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let ended = Box::pin(self.run(reason, &watch)).await;
            let ended = left(&self.copies.sync, ended).await;
            ended.map_err(|error| error.into_fault(self.copies.id.sync.as_str()))
        }
        .boxed()
    }
}
