//! The CTL: decides when each KID of one sync runs a round, and what happens when one fails.
//!
//! A kick only sets a bit per KID. A KID that has the bit and is idle gets a round at once; KIDs never wait for each
//! other, unless the sync limits how many are in a round. The bits live here and not in the KIDs, so work that a failed KID leaves behind is not forgotten.

mod hooks;
mod steer;
mod tell;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::agenda::Agenda;
use crate::board::{ActorId, Board, Doing};
use crate::dbs::reached_by;
use crate::kid::Kid;
use crate::lifeline::Lifeline;
use crate::mcp::Mcp;
use crate::messages::{Brake, ChildExited, DbBack, Look, Rest, RoundEnded, RunRound, Undone};
use crate::model::{Cause, DbName, KidId, Reason, SyncName, SyncPlan, Work};
use crate::nursery::{Nursery, Parent, Standing};
use crate::outbox::{Answer, Outbox};
use crate::policy::{Exit, Settings, Verdict};
use crate::ports::{Hooks, Notice, Replicator};
use crate::runs::Runs;
use crate::work::Workers;

/// What all CTLs share.
pub(crate) struct Shared {
    pub(crate) replicator: Arc<dyn Replicator>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) workers: Workers,
    pub(crate) board: Arc<Board>,
    pub(crate) outbox: Outbox,
}

/// The KID that merges the sources of a sync.
fn merge_of(plan: &SyncPlan) -> KidId {
    KidId { sync: plan.name.clone(), work: Work::Merge }
}

/// What a person can do, and how what is tried again so rarely is tried at once.
fn stalled_hint(hint: Option<&str>, sync: &SyncName) -> String {
    match hint {
        Some(hint) if hint.contains("bucardo ") => hint.to_owned(),
        Some(hint) => format!("{hint}; then, to have it tried at once: bucardo kick {sync}"),
        None => format!("to have it tried at once: bucardo kick {sync}"),
    }
}

/// Whether a KID that stands so begins a round as soon as it has work.
fn is_able(standing: Standing) -> bool {
    !matches!(standing, Standing::Waiting | Standing::Stalled)
}

/// Steers the KIDs of one sync.
pub struct Ctl {
    plan: SyncPlan,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    kids: Nursery<KidId, Kid>,
    agenda: Agenda<Answer>,
    runs: Runs,
    run: hooks::Run,
    brake: Brake,
    stopping: bool,
    check: Option<SpawnHandle>,
    flush: Option<SpawnHandle>,
    showing: Option<SpawnHandle>, // looks for runs that last, while there are any
    told: Option<Instant>,        // when SyncDone was last told
    untold: Option<SpawnHandle>,  // SyncDone is to be told then
    aside: BTreeSet<KidId>,       // some of their tables stay behind
    brought: BTreeSet<DbName>,    // have what was due, which is to be told
    told_brought: Option<Instant>,
    untold_brought: Option<SpawnHandle>,
    away: BTreeSet<DbName>, // sources that the last merge did without
    stalled: bool,          // that a KID is stalled was told
    leaving: bool,          // there are no more kicks for it
    asked_to_rest: bool,
    mcp: Addr<Mcp>,
    life: Lifeline<SyncName>,
}

impl Ctl {
    pub(crate) fn new(
        life: Lifeline<SyncName>,
        shared: Arc<Shared>,
        settings: Arc<Settings>,
        plan: SyncPlan,
        kids: BTreeSet<KidId>,
        brake: Brake,
        mcp: Addr<Mcp>,
    ) -> Self {
        let mut agenda = Agenda::new();
        for kid in kids {
            agenda.add(kid);
        }
        let mut kids = Nursery::new(settings.supervision.kid, life.stop().clone());
        kids.set_care_of(merge_of(&plan), settings.supervision.merge);
        Self {
            kids,
            mcp,
            away: BTreeSet::new(),
            aside: BTreeSet::new(),
            brought: BTreeSet::new(),
            told_brought: None,
            untold_brought: None,
            runs: Runs::default(),
            run: hooks::Run::default(),
            stopping: false,
            leaving: false,
            asked_to_rest: false,
            stalled: false,
            check: None,
            flush: None,
            showing: None,
            told: None,
            untold: None,
            plan,
            settings,
            shared,
            agenda,
            brake,
            life,
        }
    }

    /// Gives a round to every KID that has work and is free. The only place where rounds begin.
    fn grant(&mut self, ctx: &mut Context<Self>) {
        // An abandoned CTL may come to life again before it notices that its token is cancelled.
        let ended = self.stopping || self.life.stop().is_cancelled();
        if ended || self.brake.paused || self.brake.held || !self.may_begin(ctx) {
            return;
        }
        let at_once_max = self.plan.at_once_max.unwrap_or(usize::MAX);
        for kid in self.agenda.due() {
            if self.agenda.running() >= at_once_max {
                break;
            }
            if self.kids.standing(&kid) == Standing::Absent {
                self.start_child(&kid, ctx);
            }
            let Some(addr) = self.kids.get(&kid) else { continue };
            let Some(reason) = self.agenda.begin(&kid) else { continue };
            addr.do_send(RunRound { reason });
            self.runs.begin(&kid, Instant::now());
            self.show_runs(ctx);
            self.shared.board.note(&ActorId::Kid(kid), |snapshot| snapshot.enter(Doing::Running));
        }
        self.show();
    }

    fn look(&mut self, reason: Reason, retry: bool, answer: Answer, ctx: &mut Context<Self>) {
        if self.stopping || self.brake.paused {
            return; // the answer is dropped: SyncKill
        }
        let (kids, plan) = (&self.kids, &self.plan);
        let meant = |kid: &KidId| plan.concerns(kid, reason);
        let able = |kid: &KidId| retry || is_able(kids.standing(kid));
        let spare = self.agenda.kick(reason, meant, able, answer);
        spare.into_iter().for_each(Answer::forgo);
        if let Some(timer) = self.untold.take_if(|_| reason == Reason::Request) {
            ctx.cancel_future(timer); // who asks would take it for the answer
        }
        if retry {
            self.retry_children(ctx);
        }
        self.grant(ctx);
        self.rest(ctx);
    }

    /// There is nothing to do, and no KID, not even one that waits for another try.
    fn is_at_rest(&self) -> bool {
        self.kids.is_empty() && self.agenda.all_idle() && self.untold.is_none() && self.run.is_between()
    }

    /// One that is not to stay, or is to leave, ends once there is nothing to do. Of the first the MCP decides, since it
    /// is who gives the kicks.
    fn rest(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let waits = |kid: KidId| !is_able(self.kids.standing(&kid));
        if self.leaving {
            if self.run.is_between() && self.agenda.running() == 0 && self.agenda.due().into_iter().all(waits) {
                if !self.agenda.all_idle() {
                    self.mcp.do_send(Undone(self.plan.name.clone()));
                }
                self.wind_down(self.settings.schedule.grace, ctx);
            }
        } else if !self.plan.stayalive && !self.asked_to_rest && !self.brake.paused && self.is_at_rest() {
            self.asked_to_rest = true;
            let (sync, generation) = (self.plan.name.clone(), self.life.generation());
            self.mcp.do_send(Rest { sync, generation });
        }
    }

    /// Looks at the sync now and then although nobody kicks: a lost notification must not cost more than that.
    fn set_check(&mut self, ctx: &mut Context<Self>) {
        if let Some(old) = self.check.take() {
            ctx.cancel_future(old);
        }
        let default = self.plan.autokick.then_some(self.settings.schedule.check_every);
        let every = self.plan.check_every.or(default).filter(|every| !every.is_zero());
        self.check = every.map(|every| {
            ctx.run_interval(every, |ctl, ctx| {
                let answer = Answer::new(ctl.plan.name.clone(), ctl.shared.outbox.clone());
                if ctl.brake.paused || ctl.brake.held {
                    answer.forgo();
                } else {
                    ctl.look(Reason::Check, false, answer, ctx);
                }
            })
        });
    }

    fn show(&self) {
        let stalled = self.agenda.kids().find(|kid| self.kids.standing(kid) == Standing::Stalled);
        let state = match stalled {
            _ if self.brake.paused => Doing::Paused,
            _ if self.agenda.running() > 0 || self.run.is_coding() => Doing::Running,
            Some(_) => Doing::Stalled,
            None => Doing::Idle,
        };
        let board = &self.shared.board;
        let kid = stalled.and_then(|kid| board.get(&ActorId::Kid(kid.clone()))).unwrap_or_default();
        board.note(&ActorId::Ctl(self.plan.name.clone()), |snapshot| {
            snapshot.enter(state);
            snapshot.fault = kid.fault;
            snapshot.next_try = kid.next_try.filter(|_| state == Doing::Stalled);
        });
    }

    fn remove_kid(&mut self, kid: &KidId, ctx: &mut Context<Self>) {
        self.kids.stop(kid, self.settings.schedule.grace);
        let over = self.agenda.remove(kid);
        let (open, record) = self.runs.remove(kid, Instant::now());
        self.show_run(open);
        self.record(record);
        self.done(over, ctx);
        self.shared.board.remove_kid(kid);
    }

    fn wind_down(&mut self, grace: Duration, ctx: &mut Context<Self>) {
        self.stopping = true;
        self.kids.stop_all(grace);
        self.end_if_alone(ctx);
        let at_most = grace + self.settings.schedule.cancel_within + Duration::from_secs(1);
        ctx.run_later(at_most, |ctl, ctx| ctl.life.end(Exit::Stopped, ctx));
    }

    fn end_if_alone(&mut self, ctx: &mut Context<Self>) {
        if self.stopping && self.kids.is_empty() && !self.run.is_finishing() {
            let records = self.runs.take_all(Instant::now());
            self.record(records);
            if self.untold.is_some() {
                self.tell_done();
            }
            Self::killed(self.agenda.give_up());
            self.life.end(Exit::Stopped, ctx);
        }
    }
}

impl Actor for Ctl {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.life.heed(ctx, |ctl, ctx| ctl.wind_down(Duration::ZERO, ctx));
        self.watch_children(ctx);
        self.set_check(ctx);
        for kid in self.agenda.kids() {
            self.shared.board.note(&ActorId::Kid(kid.clone()), |snapshot| snapshot.enter(Doing::Idle));
        }
        self.show();
        self.rest(ctx);
    }
}

impl Parent<KidId> for Ctl {
    type Child = Kid;

    fn nursery(&mut self) -> &mut Nursery<KidId, Kid> {
        &mut self.kids
    }

    fn give_birth(&mut self, kid: &KidId, life: Lifeline<KidId>, ctx: &mut Context<Self>) -> Addr<Kid> {
        let shared = &self.shared;
        shared.board.follow(&ActorId::Kid(kid.clone()), life.watch());
        let (replicator, workers) = (Arc::clone(&shared.replicator), shared.workers.clone());
        let ctl = ctx.address().recipient();
        Kid::new(life, replicator, workers, ctl, self.settings.schedule.cancel_within).start()
    }

    fn on_verdict(&mut self, kid: &KidId, exit: &Exit, verdict: Verdict, ctx: &mut Context<Self>) {
        let Some(mut fault) = exit.fault() else {
            self.agenda.interrupted(kid);
            let open = self.runs.broken_off(kid);
            self.show_run(open);
            if self.agenda.has(kid) {
                self.shared.board.note(&ActorId::Kid(kid.clone()), |snapshot| snapshot.enter(Doing::Idle));
            }
            self.grant(ctx);
            self.end_run(ctx);
            self.rest(ctx);
            return self.end_if_alone(ctx);
        };
        if matches!(verdict, Verdict::Stall { .. }) {
            fault.hint = Some(stalled_hint(fault.hint.as_deref(), &kid.sync));
        }
        let hint = fault.hint.as_deref();
        let (state, after) = match verdict {
            Verdict::Forget => {
                warn!(%kid, error = %fault, hint, "the last round of a KID that was to end failed");
                (Doing::Idle, None)
            }
            Verdict::Restart { after } if matches!(exit, Exit::Failed(_)) => {
                warn!(%kid, error = %fault, hint, ?after, "round failed, KID is restarted");
                (Doing::Down, Some(after))
            }
            Verdict::Restart { after } => {
                error!(%kid, error = %fault, ?after, "KID ended in disorder and is restarted");
                (Doing::Down, Some(after))
            }
            Verdict::Stall { retry_after, again } => {
                if again {
                    debug!(%kid, error = %fault, ?retry_after, "KID is still stalled");
                } else {
                    error!(%kid, error = %fault, hint, ?retry_after, "KID is stalled");
                    self.stalled = true;
                    self.shared.outbox.tell(Notice::Stalled(kid.sync.clone()));
                }
                (Doing::Stalled, Some(retry_after))
            }
        };
        if matches!((verdict, fault.cause), (Verdict::Restart { .. }, Cause::Serialization | Cause::Deadlock)) {
            self.shared.outbox.tell(Notice::Clashed(kid.sync.clone()));
        }
        if let Some(db) = fault.unreachable() {
            self.shared.lost(db, &fault, after);
        }
        let over = self.agenda.failed(kid, self.plan.concerns(kid, Reason::Start));
        if self.agenda.has(kid) {
            let records = self.runs.failed(kid, fault.clone(), after, Instant::now());
            self.record(records);
            self.shared.board.note(&ActorId::Kid(kid.clone()), |snapshot| snapshot.fail(state, Some(fault), after));
        }
        if self.agenda.has(kid) {
            for db in self.written_by(kid, &[]) {
                self.shared.outbox.tell(Notice::TargetKill(kid.sync.clone(), db));
            }
        }
        // Who asked and hears of it can read in the run history why.
        Self::killed(over);
        self.run_failed(kid);
        self.grant(ctx);
        self.end_run(ctx);
        self.rest(ctx);
        self.end_if_alone(ctx);
    }

    fn revive(&mut self, kid: &KidId, ctx: &mut Context<Self>) {
        self.start_child(kid, ctx);
        self.shared.board.note(&ActorId::Kid(kid.clone()), |snapshot| snapshot.enter(Doing::Idle));
        self.grant(ctx);
    }
}

impl Handler<ChildExited<KidId>> for Ctl {
    type Result = ();

    fn handle(&mut self, news: ChildExited<KidId>, ctx: &mut Context<Self>) {
        self.child_exited(&news, ctx);
    }
}

impl Handler<RoundEnded> for Ctl {
    type Result = ();

    fn handle(&mut self, ended: RoundEnded, ctx: &mut Context<Self>) {
        let RoundEnded { kid, generation, report } = ended;
        if !self.kids.is_current(&kid, generation) || !self.agenda.has(&kid) {
            return;
        }
        let recovered = self.kids.succeeded(&kid);
        if recovered {
            info!(%kid, "KID has recovered");
            let stalls = |kid: &KidId| self.kids.standing(kid) == Standing::Stalled;
            if self.stalled && !self.agenda.kids().any(stalls) {
                self.stalled = false;
                self.shared.outbox.tell(Notice::Recovered(self.plan.name.clone()));
            }
        }
        if report.copied {
            info!(%kid, rows = report.inserts, took = ?report.took, "whole copy made");
        }
        if kid.work == Work::Merge && !report.is_empty() {
            // What it has written to the sources waits there for those that follow them.
            let (kids, follows) = (&self.kids, |other: &KidId| matches!(other.work, Work::Follow { .. }));
            self.agenda.pass_on(&kid, follows, |other| is_able(kids.standing(other)));
        }
        for db in reached_by(&self.plan, &kid, &report.away).filter(|db| self.shared.reached(db)) {
            self.mcp.do_send(DbBack(db.clone()));
        }
        let over = self.agenda.ended(&kid, report.more);
        let comes_or_goes = kid.work == Work::Merge && self.note_away(&kid, &report);
        // The catalog shows the begin and the end of a trouble, and the end of a copy that was asked for, at once.
        let at_once = recovered || report.copied || comes_or_goes;
        let run_max = if at_once { Duration::ZERO } else { self.settings.schedule.run_max };
        let record = self.runs.ended(&kid, &report, self.agenda.idle(&kid), run_max, Instant::now());
        self.note_quarantine(&kid, &report);
        self.shared.board.note(&ActorId::Kid(kid.clone()), |snapshot| {
            snapshot.enter(Doing::Idle);
            snapshot.succeed(&report);
        });
        self.brought(&kid, &report, ctx);
        self.run_moved(&kid, &report);
        self.grant(ctx);
        self.record(record);
        self.done(over, ctx);
        if !self.plan.kidsalive && self.agenda.idle(&kid) {
            self.kids.stop(&kid, Duration::ZERO);
        }
        self.flush_later(ctx);
        self.end_run(ctx);
        self.rest(ctx);
    }
}

impl Handler<Look> for Ctl {
    type Result = ();

    fn handle(&mut self, look: Look, ctx: &mut Context<Self>) {
        self.look(look.reason, look.retry, look.answer, ctx);
    }
}
