//! What a CTL tells: the run history, listeners, and who waits for an answer.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Ctl;
use crate::agenda::Over;
use crate::board::ActorId;
use crate::model::{Cause, DbName, Fault, KidId, RoundReport};
use crate::outbox::Answer;
use crate::ports::{Notice, OpenRun, RunRecord};

/// A run that lasts so long is shown in the run history while it goes on. Shorter ones nobody could read in time, and
/// most rounds are much shorter.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

impl Ctl {
    /// Has the run history show the runs that last, until no round is under way.
    pub(super) fn show_runs(&mut self, ctx: &mut Context<Self>) {
        if self.showing.is_some() {
            return;
        }
        self.showing = Some(ctx.run_interval(SHOWN_AFTER, |ctl, ctx| {
            let board = &ctl.shared.board;
            let doing = |kid: &KidId| {
                let step = board.get(&ActorId::Kid(kid.clone())).map(|snapshot| snapshot.step);
                step.filter(|step| !step.is_empty()).unwrap_or_else(|| "Started".to_owned())
            };
            let lasting = ctl.runs.lasting(SHOWN_AFTER, doing, Instant::now());
            ctl.show_run(lasting);
            if !ctl.runs.under_way() {
                ctl.showing.take().map(|showing| ctx.cancel_future(showing));
            }
        }));
    }

    pub(super) fn show_run(&self, runs: impl IntoIterator<Item = OpenRun>) {
        runs.into_iter().for_each(|run| self.shared.outbox.show(run));
    }

    pub(super) fn record(&self, records: impl IntoIterator<Item = RunRecord>) {
        records.into_iter().for_each(|record| self.shared.outbox.record(record));
    }

    /// Answers kicks that got their rounds. Who asked hears at once, and can then read the run history; others are
    /// told once in a while, as a busy sync has hundreds of rounds a second.
    pub(super) fn done(&mut self, over: Over<Answer>, ctx: &mut Context<Self>) {
        let Some(over) = self.hold(over) else { return };
        let (now, gap) = (Instant::now(), self.settings.schedule.tell_every);
        if !over.asked.is_empty() {
            let records = self.runs.take_all(now);
            self.record(records);
            over.asked.into_iter().for_each(Answer::done);
            over.unasked.into_iter().for_each(Answer::forgo);
            self.told = Some(now);
        } else if !over.unasked.is_empty() && self.untold.is_none() {
            over.unasked.into_iter().for_each(Answer::forgo);
            let wait = self.told.map_or(Duration::ZERO, |told| gap.saturating_sub(now.duration_since(told)));
            if wait.is_zero() {
                self.tell_done();
            } else {
                self.untold = Some(ctx.run_later(wait, |ctl, ctx| {
                    ctl.tell_done();
                    ctl.rest(ctx);
                }));
            }
        } else {
            over.unasked.into_iter().for_each(Answer::forgo);
        }
    }

    /// The databases that a KID writes to: of a merge all sources but those that it does without.
    pub(super) fn written_by(&self, kid: &KidId, away: &[(DbName, String)]) -> Vec<DbName> {
        match kid.target() {
            Some(target) => vec![target.clone()],
            None => {
                let is_there = |db: &&DbName| away.iter().all(|(away, _)| away != *db);
                self.plan.sources.iter().filter(is_there).cloned().collect()
            }
        }
    }

    /// Tells which databases have what was due: at once when somebody asked, else once in a while.
    pub(super) fn brought(&mut self, kid: &KidId, report: &RoundReport, ctx: &mut Context<Self>) {
        if report.more || !self.agenda.idle(kid) {
            return;
        }
        let dbs = self.written_by(kid, &report.away);
        self.brought.extend(dbs);
        let (now, gap) = (Instant::now(), self.settings.schedule.tell_every);
        let wait = self.told_brought.map_or(Duration::ZERO, |told| gap.saturating_sub(now.duration_since(told)));
        if wait.is_zero() || self.agenda.is_asked() {
            self.tell_brought();
        } else if self.untold_brought.is_none() {
            self.untold_brought = Some(ctx.run_later(wait, |ctl, _| ctl.tell_brought()));
        }
    }

    pub(super) fn tell_brought(&mut self) {
        (self.untold_brought, self.told_brought) = (None, Some(Instant::now()));
        for db in std::mem::take(&mut self.brought) {
            self.shared.outbox.tell(Notice::TargetDone(self.plan.name.clone(), db));
        }
    }

    /// Answers kicks that do not get their rounds; those that nobody asked for with one answer.
    pub(super) fn killed(over: Over<Answer>) {
        let one = usize::from(over.asked.is_empty());
        over.unasked.into_iter().skip(one).for_each(Answer::forgo);
        drop(over.asked); // dropped: SyncKill
    }

    pub(super) fn tell_done(&mut self) {
        self.tell_brought();
        self.untold = None;
        self.told = Some(Instant::now());
        self.shared.outbox.tell(Notice::SyncDone(self.plan.name.clone()));
    }

    pub(super) fn flush_later(&mut self, ctx: &mut Context<Self>) {
        if self.runs.waiting() && self.flush.is_none() {
            self.flush = Some(ctx.run_later(self.settings.schedule.run_max, |ctl, _| {
                ctl.flush = None;
                let records = ctl.runs.take_all(Instant::now());
                ctl.record(records);
            }));
        }
    }

    /// Tells of sources that a merge has lost or found again; true if there are any.
    pub(super) fn note_away(&mut self, kid: &KidId, report: &RoundReport) -> bool {
        for (db, why) in report.away.iter().filter(|(db, _)| !self.away.contains(db)) {
            warn!(%kid, %db, error = why, "the database is away, the others are merged without it");
        }
        let now: BTreeSet<DbName> = report.away.iter().map(|(db, _)| db.clone()).collect();
        for (db, why) in &report.away {
            self.shared.lost(db, &Fault::transient(why.clone()).at(db.clone()).because(Cause::Away), None);
        }
        for db in self.away.difference(&now) {
            info!(%kid, %db, "the database is back");
        }
        let differs = self.away != now;
        self.away = now;
        differs
    }

    /// Tells of tables that stay behind from now on, and of those that are back. That they do, the log has from the round.
    pub(super) fn note_quarantine(&mut self, kid: &KidId, report: &RoundReport) {
        if report.quarantined.is_empty() && !self.aside.remove(kid) {
            return;
        }
        if !report.quarantined.is_empty() {
            self.aside.insert(kid.clone());
        }
        let (new, back) = self.shared.board.put_aside(kid, &report.quarantined);
        new.into_iter().for_each(|table| self.shared.outbox.tell(Notice::Quarantined(table)));
        back.into_iter().for_each(|table| self.shared.outbox.tell(Notice::Returned(table)));
    }
}
