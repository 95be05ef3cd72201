//! Which CTLs there are: the catalog's syncs, applied.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::Mcp;
use super::lease::After;
use crate::board::{ActorId, Doing};
use crate::ctl::Ctl;
use crate::lifeline::Lifeline;
use crate::messages::{Brake, Leave, Look, Replan, Retry};
use crate::model::{Intent, Reason, SyncName, SyncPlan};
use crate::nursery::{Nursery, Parent, Standing};
use crate::outbox::Answer;
use crate::plan;
use crate::policy::{Exit, Settings, Verdict};
use crate::ports::Notice;

/// A sync as the MCP knows it.
pub(super) struct Entry {
    pub(super) plan: SyncPlan,
    /// An operator has paused it.
    pub(super) paused: bool,
    /// It was announced as activated.
    announced: bool,
    /// Its last CTL failed, so nobody knows what work was left.
    crashed: bool,
    /// A kick for the CTL that is to be started.
    pub(super) kick: Option<Answer>,
    /// Another reason to look, for the same.
    pub(super) look: Option<Reason>,
    /// Its CTL gets no more kicks, and ends by itself.
    pub(super) leaving: bool,
    /// It has no CTL until the next kick.
    pub(super) resting: bool,
    /// It is looked at then, if nobody kicks it before.
    timer: Option<SpawnHandle>,
    /// When its CTL was started.
    born: Instant,
    /// So many kicks its CTL has had.
    kicks: u32,
}

impl Entry {
    fn new(plan: SyncPlan) -> Self {
        let paused = plan.intent == Intent::Paused;
        Self {
            plan,
            paused,
            announced: false,
            crashed: false,
            kick: None,
            look: None,
            leaving: false,
            resting: false,
            timer: None,
            born: Instant::now(),
            kicks: 0,
        }
    }

    /// Counts a kick; true if the CTL has had enough of them, or lives long enough.
    pub(super) fn is_worn_out(&mut self) -> bool {
        self.kicks = self.kicks.saturating_add(1);
        self.plan.kicks_max.is_some_and(|most| self.kicks > most)
            || self.plan.lifetime.is_some_and(|most| self.born.elapsed() >= most)
    }

    pub(super) fn active(&self) -> bool {
        self.plan.intent != Intent::Inactive
    }
}

/// What a read of the catalog has changed.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Syncs that are up since then; they begin with a kick.
    pub(super) started: BTreeSet<SyncName>,
    /// How many should be up.
    pub(super) active: usize,
    /// Syncs that are in the catalog no more.
    pub(super) gone: BTreeSet<SyncName>,
}

impl Mcp {
    /// Starts, stops and changes CTLs so that they fit the catalog. What did not change is not touched, except that
    /// syncs that are not up but should be are tried again at once. Wishes for some syncs leave the others
    /// alone: an operator may be in the middle of changing them.
    pub(super) fn apply(&mut self, mut plans: Vec<SyncPlan>, wanted: &[After], ctx: &mut Context<Self>) -> Applied {
        let meant = |name: &SyncName| wanted.iter().any(|after| after.sync().is_none_or(|sync| sync == name));
        plans.sort_by_cached_key(|plan| (Reverse(plan.priority), plan.name.clone()));
        let present: BTreeSet<SyncName> = plans.iter().map(|plan| plan.name.clone()).collect();
        let gone = self.syncs.keys().filter(|name| !present.contains(*name) && meant(name));
        let mut applied = Applied { gone: gone.cloned().collect(), ..Applied::default() };
        for name in &applied.gone {
            info!(sync = %name, "sync was removed");
            self.syncs.remove(name);
            self.stop_sync(name);
        }
        self.shared.know_dbs(plans.iter().filter(|plan| plan.intent != Intent::Inactive));
        for plan in plans {
            let name = plan.name.clone();
            applied.active += usize::from(plan.intent != Intent::Inactive);
            let renew = wanted.contains(&After::ReloadSync(name.clone()));
            if meant(&name) && self.adopt(plan, renew, ctx) {
                applied.started.insert(name);
            }
        }
        applied
    }

    /// Makes one CTL fit its plan; true if it was started.
    fn adopt(&mut self, plan: SyncPlan, renew: bool, ctx: &mut Context<Self>) -> bool {
        let name = plan.name.clone();
        let entry = self.syncs.entry(name.clone()).or_insert_with(|| Entry::new(plan.clone()));
        let changed = entry.plan != plan;
        entry.plan = plan;
        if !entry.active() {
            self.stop_sync(&name);
            return false;
        }
        match (self.ctls.standing(&name), plan::kids(&self.syncs[&name].plan)) {
            (Standing::Running, Ok(_)) if changed || renew => self.replan(&name, renew),
            (Standing::Running, Ok(_)) | (Standing::Stopping, _) => {}
            (Standing::Running, Err(_)) => self.ctls.stop(&name, self.settings.schedule.grace),
            (Standing::Absent | Standing::Waiting | Standing::Stalled, _) => return self.start_sync(&name, ctx),
        }
        false
    }

    /// Starts the CTL of an active sync, or settles why it cannot be started; true if it was.
    fn start_sync(&mut self, name: &SyncName, ctx: &mut Context<Self>) -> bool {
        let Some(entry) = self.syncs.get_mut(name) else { return false };
        if let Err(fault) = plan::kids(&entry.plan) {
            self.settle(name, &Exit::Failed(fault), ctx);
            return false;
        }
        if !std::mem::replace(&mut entry.announced, true) {
            info!(sync = %name, "sync is active");
            self.tell(Notice::Activated(name.clone()));
        }
        self.start_child(name, ctx);
        true
    }

    /// Ends the CTL of a sync that is inactive or gone.
    pub(super) fn stop_sync(&mut self, name: &SyncName) {
        match self.ctls.standing(name) {
            Standing::Running => self.ctls.stop(name, self.settings.schedule.grace),
            Standing::Stopping => {}
            Standing::Waiting | Standing::Stalled => {
                self.ctls.stop(name, self.settings.schedule.grace);
                self.sync_down(name);
            }
            Standing::Absent => self.show_down(name),
        }
    }

    /// The CTL of a sync that is inactive or gone has ended.
    fn sync_down(&mut self, name: &SyncName) {
        info!(sync = %name, "sync is inactive");
        self.tell(Notice::Deactivated(name.clone()));
        self.show_down(name);
    }

    fn show_down(&mut self, name: &SyncName) {
        self.shared.board.remove_kids(name);
        let id = ActorId::Ctl(name.clone());
        let Some(entry) = self.syncs.get_mut(name) else { return self.shared.board.remove(&id) };
        entry.announced = false;
        entry.crashed = false;
        entry.kick = None; // dropped: SyncKill
        (entry.look, entry.leaving, entry.resting) = (None, false, false);
        self.shared.board.note(&id, |snapshot| {
            snapshot.enter(Doing::Down);
            snapshot.fault = None;
        });
    }

    /// The CTL of an active sync has ended in order: another one is started, unless it is to come only when it is kicked.
    fn left(&mut self, name: &SyncName, ctx: &mut Context<Self>) {
        let Some(entry) = self.syncs.get_mut(name) else { return };
        let leaving = std::mem::take(&mut entry.leaving);
        if !leaving || entry.plan.stayalive || entry.kick.is_some() || entry.look.is_some() {
            self.start_sync(name, ctx);
            return;
        }
        entry.resting = true;
        let state = if entry.paused { Doing::Paused } else { Doing::Finished };
        self.shared.board.note(&ActorId::Ctl(name.clone()), |snapshot| snapshot.enter(state));
        self.check_later(name, ctx);
    }

    /// Has a resting sync looked at after its period. A pause does not end that: what comes due in it is left out.
    fn check_later(&mut self, name: &SyncName, ctx: &mut Context<Self>) {
        let usual = self.settings.schedule.check_every;
        let Some(entry) = self.syncs.get_mut(name) else { return };
        let every = entry.plan.check_every.or(entry.plan.autokick.then_some(usual)).filter(|every| !every.is_zero());
        let again = name.clone();
        let timer = every.map(|every| {
            ctx.run_later(every, |mcp, ctx| match mcp.syncs.get(&again) {
                Some(entry) if entry.resting && entry.paused => mcp.check_later(&again, ctx),
                _ => mcp.kick(again, Reason::Check, ctx),
            })
        });
        entry.timer = timer;
    }

    /// The CTL gets no more kicks: they are kept for the next one.
    pub(super) fn let_go(&mut self, name: &SyncName, worn_out: bool) {
        if let (Some(entry), Some(ctl)) = (self.syncs.get_mut(name), self.ctls.let_go(name)) {
            entry.leaving = true;
            ctl.do_send(Leave { worn_out });
        }
    }

    /// A CTL that was let go stays: it gets what was kept for the next one.
    pub(super) fn stays(&mut self, name: &SyncName, generation: u64) {
        let Some(entry) = self.syncs.get_mut(name).filter(|entry| entry.leaving && entry.active()) else {
            return self.ctls.stop(name, self.settings.schedule.grace);
        };
        let Some(ctl) = self.ctls.take_back(name, generation) else { return };
        entry.leaving = false;
        let (kick, look) = (entry.kick.take(), entry.look.take());
        self.replan(name, false);
        let (held, paused) = (self.held(), self.syncs.get(name).is_some_and(|entry| entry.paused));
        ctl.do_send(Brake { paused, held });
        if let Some(answer) = kick {
            ctl.do_send(Look { reason: Reason::Request, retry: true, answer });
        }
        if let Some(reason) = look {
            let answer = Answer::new(name.clone(), self.shared.outbox.clone());
            ctl.do_send(Look { reason, retry: false, answer });
        }
    }

    /// What holds for a sync.
    fn settings_of(&self, plan: &SyncPlan) -> Arc<Settings> {
        plan.settings.as_ref().map_or_else(|| Arc::clone(&self.settings), |own| Arc::new(**own))
    }

    fn replan(&mut self, name: &SyncName, renew: bool) {
        let (Some(entry), Some(ctl)) = (self.syncs.get(name), self.ctls.get(name)) else { return };
        if let Ok(kids) = plan::kids(&entry.plan) {
            ctl.do_send(Replan { plan: entry.plan.clone(), kids, settings: self.settings_of(&entry.plan), renew });
        }
    }

    /// Gives the present settings to all CTLs.
    pub(super) fn replan_all(&mut self) {
        for name in self.syncs.keys().cloned().collect::<Vec<_>>() {
            self.replan(&name, false);
        }
    }

    /// Has all syncs looked at, except those that have just been started.
    pub(super) fn kick_all(&mut self, applied: &Applied, ctx: &mut Context<Self>) {
        let waiting = self.syncs.iter().filter(|(name, _)| !applied.started.contains(*name));
        let mut names: Vec<(&SyncName, &Entry)> = waiting.collect();
        names.sort_by_key(|(_, entry)| Reverse(entry.plan.priority));
        for name in names.into_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.wake(&name, ctx);
        }
    }

    /// Has a sync looked at after something happened to the daemon or the sync; one that changes do not kick only
    /// gets another try of what has failed, of which there is nothing while it rests.
    pub(super) fn wake(&mut self, name: &SyncName, ctx: &mut Context<Self>) {
        let Some(entry) = self.syncs.get(name) else { return };
        if entry.resting && entry.plan.autokick {
            return self.kick(name.clone(), Reason::Start, ctx);
        }
        let Some(ctl) = self.ctls.get(name) else { return };
        if entry.plan.autokick {
            let answer = Answer::new(name.clone(), self.shared.outbox.clone());
            ctl.do_send(Look { reason: Reason::Start, retry: true, answer });
        } else {
            ctl.do_send(Retry { db: None });
        }
    }

    pub(super) fn sync_activated(&mut self, name: SyncName, applied: &Applied, ctx: &mut Context<Self>) {
        match self.syncs.get(&name) {
            Some(_) if applied.started.contains(&name) => {} // announced already
            Some(entry) if entry.active() && plan::kids(&entry.plan).is_ok() => {
                self.wake(&name, ctx);
                self.tell(Notice::Activated(name));
            }
            known => {
                let known = known.is_some();
                warn!(sync = %name, known, "cannot activate the sync");
                self.tell(Notice::SyncError(name));
            }
        }
    }

    pub(super) fn sync_deactivated(&mut self, name: SyncName) {
        if !self.syncs.contains_key(&name) {
            warn!(sync = %name, "cannot deactivate an unknown sync");
            self.tell(Notice::SyncError(name));
        } else if self.ctls.standing(&name) == Standing::Absent {
            self.tell(Notice::Deactivated(name)); // it was inactive before
        }
    }

    pub(super) fn sync_reloaded(&mut self, name: SyncName, applied: &Applied, ctx: &mut Context<Self>) {
        let held = self.held();
        let Some(entry) = self.syncs.get_mut(&name) else {
            if applied.gone.contains(&name) {
                if self.ctls.standing(&name) == Standing::Absent {
                    self.tell(Notice::Deactivated(name)); // else it is told when its CTL has ended
                }
                return;
            }
            warn!(sync = %name, "cannot reload an unknown sync");
            return self.tell(Notice::ReloadError(name));
        };
        entry.paused = false;
        if entry.active() && plan::kids(&entry.plan).is_err() {
            return self.tell(Notice::ReloadError(name)); // why not is logged already
        }
        if let Some(ctl) = self.ctls.get(&name) {
            ctl.do_send(Brake { paused: false, held });
        }
        if !applied.started.contains(&name) {
            self.wake(&name, ctx);
        }
        info!(sync = %name, "sync reloaded");
        self.tell(Notice::Reloaded(name));
    }
}

impl Parent<SyncName> for Mcp {
    type Child = Ctl;

    fn nursery(&mut self) -> &mut Nursery<SyncName, Ctl> {
        &mut self.ctls
    }

    fn give_birth(&mut self, name: &SyncName, life: Lifeline<SyncName>, ctx: &mut Context<Self>) -> Addr<Ctl> {
        let mcp = ctx.address();
        let held = self.held();
        let shared = Arc::clone(&self.shared);
        let usual = Arc::clone(&self.settings);
        let outbox = self.shared.outbox.clone();
        // Only syncs in the map are started; an empty plan would have no KIDs.
        let entry = self.syncs.entry(name.clone()).or_insert_with(|| Entry::new(SyncPlan::inactive(name.clone())));
        let kids = plan::kids(&entry.plan).unwrap_or_default();
        let settings = entry.plan.settings.as_ref().map_or(usual, |own| Arc::new(**own));
        let brake = Brake { paused: entry.paused, held };
        let ctl = Ctl::new(life, shared, settings, entry.plan.clone(), kids, brake, mcp).start();
        let crashed = std::mem::take(&mut entry.crashed);
        (entry.leaving, entry.resting, entry.born, entry.kicks) = (false, false, Instant::now(), 0);
        entry.timer.take().map(|timer| ctx.cancel_future(timer));
        let look = entry.look.take();
        if let Some(answer) = entry.kick.take() {
            entry.kicks = 1;
            ctl.do_send(Look { reason: Reason::Request, retry: true, answer });
        } else if let Some(reason) = look.filter(|_| !entry.paused) {
            entry.kicks = 1;
            ctl.do_send(Look { reason, retry: true, answer: Answer::new(name.clone(), outbox) });
        } else if (entry.plan.autokick || crashed) && !entry.paused {
            let answer = Answer::new(name.clone(), outbox);
            ctl.do_send(Look { reason: Reason::Start, retry: true, answer });
        }
        ctl
    }

    fn on_verdict(&mut self, name: &SyncName, exit: &Exit, verdict: Verdict, ctx: &mut Context<Self>) {
        let fault = exit.fault();
        let error = fault.as_ref().map(ToString::to_string);
        let hint = fault.as_ref().and_then(|fault| fault.hint.clone());
        self.shared.board.remove_kids(name);
        let (state, after) = match verdict {
            Verdict::Forget => {
                if self.ending.is_some() {
                    self.show_down(name);
                    self.end_if_alone(ctx);
                } else if self.syncs.get(name).is_some_and(Entry::active) {
                    self.left(name, ctx);
                } else {
                    self.sync_down(name);
                }
                return;
            }
            Verdict::Restart { after } if matches!(exit, Exit::Failed(_)) => {
                warn!(sync = %name, error, hint, ?after, "sync cannot run, trying again");
                (Doing::Down, after)
            }
            Verdict::Restart { after } => {
                error!(sync = %name, error, ?after, "CTL ended in disorder and is restarted");
                (Doing::Down, after)
            }
            Verdict::Stall { retry_after, again } => {
                if again {
                    debug!(sync = %name, error, ?retry_after, "sync is still stalled");
                } else {
                    error!(sync = %name, error, hint, ?retry_after, "sync is stalled");
                    self.tell(Notice::Stalled(name.clone()));
                }
                (Doing::Stalled, retry_after)
            }
        };
        if let Some(entry) = self.syncs.get_mut(name) {
            entry.crashed = !matches!(exit, Exit::Failed(_));
            entry.announced &= entry.crashed;
            entry.kick = None; // dropped: SyncKill
        }
        self.shared.board.note(&ActorId::Ctl(name.clone()), |snapshot| snapshot.fail(state, fault, Some(after)));
    }

    /// A sync with a problem in the catalog needs the catalog read again before it can be started.
    fn revive(&mut self, name: &SyncName, ctx: &mut Context<Self>) {
        match self.syncs.get(name) {
            Some(entry) if plan::kids(&entry.plan).is_err() => self.load(After::Retry(name.clone()), ctx),
            Some(_) => self.start_child(name, ctx),
            None => {}
        }
    }
}
