//! Where custom codes run in the rounds of a KID, and what they may ask there.
//!
//! Outside of the round's transactions (`before_txn`, `after_txn`) a code gets connections of its own, opened when it asks
//! for the first time, each with one transaction that is committed when the codes have ended. Everywhere else its
//! statements are part of the round's own transactions: they take effect with the round, or not at all.
//!
//! A round writes with triggers and rules switched off. For what codes write they are on up to `before_trigger_disable`
//! and again at `after_trigger_enable`; in between they are off for codes, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bucardo_actors::model::{DbName, GoatCounts, RoundReport};
use bucardo_actors::ports::Watch;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::error::RoundError;
use super::lent::Inside;
use super::refused::Exception;
use super::round::{Round, step};
use super::site::Site;
use super::step::Step;
use crate::catalog::{Goat, SyncDetail};
use crate::custom::conflict::{Dispute, Field, Verdict};
use crate::custom::input::{self, Counts, ROWS_MAX, Side};
use crate::custom::{CodeError, Codes, Databases, Forms, Found, Hook, Outcome, Refused, Statement, ask, commits};
use crate::pg::{Connection, causes, connect};

/// Whether triggers fire for what codes write here, in transactions that have switched them off.
const fn has_triggers(hook: Hook) -> bool {
    matches!(hook, Hook::BeforeCheckRows | Hook::BeforeTriggerDisable | Hook::AfterTriggerEnable)
}

/// The codes of one KID, with what they are told of its present round.
pub(super) struct Hooks {
    codes: Codes,
    base: Map<String, Value>,
    pub(super) counts: Counts,
    rounds: u64,
    /// Of the present round, the first included.
    tries: u64,
    /// Codes know in this try that there are changes.
    has_begun: bool,
    /// A code asked for another round.
    runs_again: bool,
}

/// What a hook in the transactions of a round can reach.
pub(super) struct Scene<'a> {
    /// In a transaction each; sources first.
    pub(super) sites: &'a [&'a Site],
    /// Those of them where triggers are switched off.
    pub(super) written: &'a [&'a Site],
    pub(super) watch: &'a Watch,
}

impl Hooks {
    /// The codes of a KID between these databases. In a merge, the first of the sources and the next one.
    pub(super) fn new(codes: Codes, source: Option<&DbName>, target: Option<&DbName>) -> Self {
        let base = input::base(codes.sync(), source, target);
        Self { codes, base, counts: Counts::default(), rounds: 0, tries: 0, has_begun: false, runs_again: false }
    }

    /// A round begins.
    pub(super) fn begin_round(&mut self) {
        self.rounds += 1;
        self.tries = 0;
        self.runs_again = false;
        self.counts = Counts::default();
        self.base.insert("kidloop".to_owned(), json!(self.rounds));
        self.base.insert("attempts".to_owned(), json!(1));
    }

    /// The round begins, or starts over: what codes did in its transactions is gone.
    pub(super) fn begin_try(&mut self) {
        self.tries += 1;
        self.has_begun = false;
        self.codes.begin();
        self.counts = Counts::default();
        self.base.insert("attempts".to_owned(), json!(self.tries));
    }

    /// Whether a code asked for another round.
    pub(super) fn runs_again(&self) -> bool {
        self.runs_again
    }

    /// The codes themselves, for other rounds.
    pub(super) fn into_codes(self) -> Codes {
        self.codes
    }

    /// So many changed keys of a table are asked for.
    pub(super) fn keys_max(&self, few: i64) -> i64 {
        if self.codes.want_rows() { few.max(ROWS_MAX) } else { few }
    }

    /// Whether any code gets the keys of the changed rows.
    pub(super) fn want_rows(&self) -> bool {
        self.codes.want_rows()
    }

    /// Whether any code of a merge is told what has changed.
    pub(super) fn hear_of_changes_merged(&self) -> bool {
        self.hear_of_changes() || self.codes.has(Hook::Conflict, None)
    }

    /// Whether any code is told what has changed.
    pub(super) fn hear_of_changes(&self) -> bool {
        self.codes.hear_of_changes()
    }

    /// So many changes of a table were found at the source, with these keys (a list for each column).
    pub(super) fn changed(&mut self, goat: &Goat, changes: u64, columns: Vec<Vec<Option<String>>>) {
        self.counts.changed(goat, Side::Source, changes);
        if self.codes.want_rows() {
            let keys = columns.first().map_or(0, Vec::len);
            let column = |column: &Vec<Option<String>>, at: usize| column[at].clone().unwrap_or_default();
            let keys = (0..keys).map(|at| columns.iter().map(|values| column(values, at)).collect());
            self.counts.keys(goat, keys.collect(), changes);
        }
    }

    /// So much was written of tables that are copied whole.
    pub(super) fn written_whole(&mut self, copies: &[GoatCounts]) {
        for of in copies {
            let sync = Arc::clone(self.codes.sync());
            let Some(goat) = sync.goats.iter().find(|goat| goat.id == of.goat) else { continue };
            self.counts.written(goat, Side::Target, of.deletes, of.inserts);
        }
    }

    /// Whether any code runs here.
    pub(super) fn has(&self, hook: Hook, goat: Option<&Goat>) -> bool {
        self.codes.has(hook, goat.map(|goat| goat.id))
    }

    /// Whether codes decide conflicts of a table: its own ones, or others that have named a winner for all tables.
    pub(super) fn judge(&self, goat: Option<&Goat>) -> bool {
        self.has(Hook::Conflict, goat) || goat.is_some_and(|goat| self.codes.have_winner(goat.id))
    }

    /// Whether any code that runs here may ask databases.
    pub(super) fn asks(&self, hook: Hook, goat: Option<&Goat>) -> bool {
        self.codes.ask(hook, goat.map(|goat| goat.id))
    }

    /// Whether it is the first time in this try that codes hear of changes.
    fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.has_begun, true)
    }

    /// Runs the codes of a hook in the transactions of the round.
    ///
    /// # Errors
    ///
    /// [`RoundError::Code`]; [`RoundError::Left`]: a code wants the round to be left (`endsync`).
    pub(super) async fn inside(&mut self, hook: Hook, goat: Option<&Goat>, scene: Scene<'_>) -> Result<(), RoundError> {
        if !self.has(hook, goat) {
            return Ok(());
        }
        step(scene.watch, Step::Code(hook.word())).await?;
        let firing: &[&Site] = if has_triggers(hook) { scene.written } else { &[] };
        let mut dbs = Inside::new(scene.sites, firing, self.codes.longest(hook, goat.map(|goat| goat.id)));
        let outcome = self.codes.run(hook, goat, (&self.base, &Forms::default()), &self.counts, &mut dbs).await;
        self.heed(&outcome.map_err(RoundError::Code)?)
    }

    /// Runs the codes of a hook outside of the round's transactions.
    ///
    /// # Errors
    ///
    /// As [`Hooks::inside`].
    pub(super) async fn outside(&mut self, hook: Hook, watch: &Watch) -> Result<(), RoundError> {
        if !self.has(hook, None) {
            return Ok(());
        }
        step(watch, Step::Code(hook.word())).await?;
        let outcome = outside(&mut self.codes, hook, None, (&self.base, &Forms::default()), &self.counts)
            .await
            .map_err(RoundError::Code)?;
        self.heed(&outcome)
    }

    /// Tells the codes of a table that a source refused rows of it in a merge, whose transactions are over: what they
    /// write is a change like any other, made by themselves. Returns whether the merge shall be tried again.
    ///
    /// # Errors
    ///
    /// As [`Hooks::inside`].
    pub(super) async fn exception_outside(
        &mut self,
        goat: &Goat,
        exception: Exception,
        watch: &Watch,
    ) -> Result<bool, RoundError> {
        let mut base = self.base.clone();
        base.extend(exception.told);
        step(watch, Step::Code(Hook::Exception.word())).await?;
        let outcome =
            outside(&mut self.codes, Hook::Exception, Some(goat), (&base, &exception.forms), &self.counts).await;
        let outcome = outcome.map_err(RoundError::Code)?;
        if outcome.endsync { Err(RoundError::Left) } else { Ok(outcome.runagain) }
    }

    /// Asks the codes what becomes of each of these conflicts, in the transactions of a merge.
    ///
    /// # Errors
    ///
    /// As [`Hooks::inside`].
    pub(super) async fn settle(
        &mut self,
        field: &Field<'_>,
        disputes: &[Dispute],
        sites: &[&Site],
    ) -> Result<Vec<Verdict>, RoundError> {
        let mut dbs = Inside::new(sites, &[], self.codes.longest(Hook::Conflict, Some(field.goat.id)));
        let settled = self.codes.settle(field, disputes, (&self.base, &self.counts), &mut dbs).await;
        let (verdicts, outcome) = settled.map_err(RoundError::Code)?;
        self.heed(&outcome)?;
        Ok(verdicts)
    }

    /// Tells the codes of a table which of its rows were refused; returns whether the table shall be tried again.
    ///
    /// # Errors
    ///
    /// As [`Hooks::inside`].
    pub(super) async fn exception(
        &mut self,
        goat: &Goat,
        exception: Exception,
        scene: Scene<'_>,
    ) -> Result<bool, RoundError> {
        let mut base = self.base.clone();
        base.extend(exception.told);
        step(scene.watch, Step::Code(Hook::Exception.word())).await?;
        let mut dbs = Inside::new(scene.sites, &[], self.codes.longest(Hook::Exception, Some(goat.id)));
        let outcome =
            self.codes.run(Hook::Exception, Some(goat), (&base, &exception.forms), &self.counts, &mut dbs).await;
        let outcome = outcome.map_err(RoundError::Code)?;
        if outcome.endsync { Err(RoundError::Left) } else { Ok(outcome.runagain) }
    }

    /// Runs the codes that come after everything was committed: nothing can be left any more.
    ///
    /// # Errors
    ///
    /// As [`Hooks::inside`].
    pub(super) async fn after(&mut self, watch: &Watch) -> Result<(), RoundError> {
        match self.outside(Hook::AfterTxn, watch).await {
            Err(RoundError::Left) => Ok(()),
            ended => ended,
        }
    }

    fn heed(&mut self, outcome: &Outcome) -> Result<(), RoundError> {
        self.runs_again |= outcome.runagain;
        if outcome.endsync { Err(RoundError::Left) } else { Ok(()) }
    }
}

/// A round that a code left (`endsync`) did nothing, and that is no failure. What there is to do waits for the next one,
/// which does not begin before a pause is over.
pub(super) async fn left(sync: &SyncDetail, ended: Result<RoundReport, RoundError>) -> Result<RoundReport, RoundError> {
    if !matches!(ended, Err(RoundError::Left)) {
        return ended;
    }
    tracing::info!(sync = %sync.name, pause = ?sync.endsync_sleep, "a custom code ended the round (endsync)");
    tokio::time::sleep(sync.endsync_sleep).await;
    Ok(RoundReport::default())
}

/// What a run has brought, in the words of codes.
#[must_use]
pub fn counts(sync: &SyncDetail, brought: &RoundReport) -> Counts {
    let mut counts = Counts::default();
    for of in brought.goats.iter().chain(&brought.copies) {
        let Some(goat) = sync.goats.iter().find(|goat| goat.id == of.goat) else { continue };
        counts.changed(goat, Side::Source, of.keys);
        counts.written(goat, Side::Target, of.deletes, of.inserts);
    }
    counts
}

/// Runs codes with connections of their own. `told`: what each is told, and the columns of it whose values Perl codes do
/// not get as texts.
///
/// # Errors
///
/// See [`CodeError`]. What they wrote is then rolled back, as far as they have not committed it themselves.
pub async fn outside(
    codes: &mut Codes,
    hook: Hook,
    goat: Option<&Goat>,
    told: (&Map<String, Value>, &Forms),
    counts: &Counts,
) -> Result<Outcome, CodeError> {
    let longest = codes.longest(hook, goat.map(|goat| goat.id));
    let sync = Arc::clone(codes.sync());
    let (open, used, lost) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut dbs = Outside { sync, longest, open, code: String::new(), used, lost };
    let outcome = codes.run(hook, goat, told, counts, &mut dbs).await?;
    dbs.commit(hook).await?;
    Ok(outcome)
}

pub(super) fn unknown(db: &str, names: &[String]) -> Refused {
    let message = format!("there is no database \"{db}\" here; there are {}", names.join(", "));
    Refused { message, ..Refused::default() }
}

/// The databases of a sync, on connections of their own.
struct Outside {
    sync: Arc<SyncDetail>,
    /// No statement takes longer.
    longest: Duration,
    open: BTreeMap<String, Connection>,
    /// Who asks.
    code: String,
    /// Who has asked each database since it committed.
    used: BTreeMap<String, BTreeSet<String>>,
    /// What ended the session there.
    lost: BTreeMap<String, String>,
}

impl Outside {
    async fn session(&mut self, db: &str) -> Result<&Connection, Refused> {
        if !self.open.contains_key(db) {
            let Some(found) = self.sync.db(&DbName::from(db)) else { return Err(unknown(db, &self.names())) };
            let name = format!("bucardo code of {}", self.sync.name);
            let failed = |why: String| Refused {
                message: format!("cannot connect to database \"{db}\": {why}"),
                sqlstate: Some("08001".to_owned()),
                ..Refused::default()
            };
            let conn = connect(&found.access, &name).await.map_err(|error| failed(causes(&error)))?;
            let longest = self.longest.as_millis();
            // Committed, so that they outlive a rollback of the code.
            let begin = format!("BEGIN; SET search_path TO DEFAULT; SET statement_timeout = {longest}; COMMIT; BEGIN");
            conn.batch_execute(&begin).await.map_err(|error| failed(causes(&error)))?;
            self.open.insert(db.to_owned(), conn);
        }
        self.open.get(db).ok_or_else(|| unknown(db, &[]))
    }

    async fn commit(self, hook: Hook) -> Result<(), CodeError> {
        let mut committed: Vec<String> = Vec::new();
        for (db, conn) in self.open {
            if let Err(error) = conn.batch_execute("COMMIT").await {
                let codes: Vec<String> = self.used.get(&db).into_iter().flatten().cloned().collect();
                let cause = self.lost.get(&db).cloned().unwrap_or_else(|| causes(&error));
                let mut why = format!("{cause}; codes that used it: {}", codes.join(", "));
                if !committed.is_empty() {
                    why.push_str("; committed before: ");
                    why.push_str(&committed.join(", "));
                }
                return Err(CodeError::Commit { hook: hook.word(), db, why, codes });
            }
            committed.push(db);
        }
        Ok(())
    }
}

impl Databases for Outside {
    fn names(&self) -> Vec<String> {
        self.sync.members.iter().map(|member| &member.db).filter(|db| db.active).map(|db| db.name.to_string()).collect()
    }

    fn begins(&mut self, code: &str) {
        code.clone_into(&mut self.code);
    }

    fn run<'a>(&'a mut self, db: &'a str, statement: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        async move {
            let found = ask(self.session(db).await?, false, &statement).await;
            if let Err(refused) = &found
                && refused.ends_session()
            {
                self.lost.entry(db.to_owned()).or_insert_with(|| refused.message.clone());
            }
            if commits(&statement.sql) && found.is_ok() {
                self.used.remove(db);
            } else {
                self.used.entry(db.to_owned()).or_default().insert(self.code.clone());
            }
            found
        }
        .boxed()
    }
}

impl Round<'_> {
    /// Runs the codes of a hook; both sides are in a transaction.
    pub(super) async fn at(&mut self, hook: Hook, goat: Option<&Goat>) -> Result<(), RoundError> {
        let Some(hooks) = &mut self.hooks else { return Ok(()) };
        let (source, target) = (&self.session.source, &self.session.target);
        let scene = Scene { sites: &[source, target], written: &[target], watch: self.watch };
        hooks.inside(hook, goat, scene).await
    }

    /// There are changes; nothing is written yet. Only the first time in a round that starts.
    pub(super) async fn at_first_change(&mut self) -> Result<(), RoundError> {
        if !self.hooks.as_mut().is_some_and(|hooks| hooks.begins()) {
            return Ok(());
        }
        self.at(Hook::BeforeTriggerDisable, None).await?;
        self.at(Hook::AfterTriggerDisable, None).await
    }

    /// All rows are written, and nothing is committed.
    pub(super) async fn at_last_change(&mut self) -> Result<(), RoundError> {
        self.at(Hook::BeforeTriggerEnable, None).await?;
        self.at(Hook::AfterTriggerEnable, None).await
    }

    /// Rows of the table in this place have been written.
    pub(super) async fn at_table(&mut self, place: usize) -> Result<(), RoundError> {
        let Some(hooks) = self.hooks.as_ref() else { return Ok(()) };
        let goat = &self.session.tables[place].goat;
        if !hooks.has(Hook::AfterTableSync, Some(goat)) {
            return Ok(());
        }
        let goat = goat.clone();
        self.at(Hook::AfterTableSync, Some(&goat)).await
    }

    /// Rows of all these tables have been written.
    pub(super) async fn at_tables(&mut self, is_written: impl Fn(&Goat) -> bool) -> Result<(), RoundError> {
        if self.hooks.is_none() {
            return Ok(());
        }
        for place in 0..self.session.tables.len() {
            if is_written(&self.session.tables[place].goat) {
                self.at_table(place).await?;
            }
        }
        Ok(())
    }

    /// Codes are told what was written of tables that are copied whole.
    pub(super) fn written_whole(&mut self, copies: &[GoatCounts]) {
        if let Some(hooks) = &mut self.hooks {
            hooks.written_whole(copies);
        }
    }

    /// Codes are told what was written of the table in this place.
    pub(super) fn written(&mut self, place: usize, deletes: u64, inserts: u64) {
        if let Some(hooks) = &mut self.hooks {
            hooks.counts.written(&self.session.tables[place].goat, Side::Target, deletes, inserts);
        }
    }
}
