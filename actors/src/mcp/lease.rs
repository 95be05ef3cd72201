//! The lease on the control database, and reading the catalog.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Mcp;
use super::syncs::Applied;
use crate::board::{ActorId, Doing};
use crate::messages::Brake;
use crate::model::{Cause, Failure, Fault, Intent, SyncName, SyncPlan};
use crate::nursery::Parent;
use crate::policy::Exit;
use crate::ports::Notice;
use crate::vac::TheVac;

/// Whether rounds may start.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// The lease is held, and the catalog has been read since it is.
    pub(super) ready: bool,
    /// It was held before: the daemon has started.
    pub(super) had: bool,
    /// Tries in a row that failed, or got a lease that was lost soon after.
    tries: u32,
    /// Why it was not given, while a person must act: that is told once.
    refused: Option<String>,
    /// When it was taken.
    since: Option<Instant>,
    /// Raised whenever the lease is taken or lost: a catalog read under an older one is read again.
    generation: u64,
}

/// Reads of the catalog: one at a time, wishes that come meanwhile are served by the next.
#[derive(Debug, Default)]
pub(super) struct Loads {
    running: bool,
    wanted: Vec<After>,
}

/// What a read of the catalog is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The lease has just been taken, for the so-manieth time.
    Lease(u64),
    /// An operator asked for it.
    Reload,
    /// An operator asked for one sync.
    ReloadSync(SyncName),
    /// A sync was set active.
    Activate(SyncName),
    /// A sync was set inactive.
    Deactivate(SyncName),
    /// A sync that could not be started is tried again.
    Retry(SyncName),
}

impl After {
    /// The one sync that it is about; `None`: all.
    pub(super) fn sync(&self) -> Option<&SyncName> {
        match self {
            Self::Lease(_) | Self::Reload => None,
            Self::ReloadSync(sync) | Self::Activate(sync) | Self::Deactivate(sync) | Self::Retry(sync) => Some(sync),
        }
    }
}

impl Loads {
    /// Whether the catalog is being read.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }
}

impl Lease {
    /// Which hold on the control database it is.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

impl Mcp {
    /// Tries to take the lease. A daemon that starts gives up after some tries, a running one never.
    pub(super) fn take_lease(&mut self, ctx: &mut Context<Self>) {
        self.run(self.catalog.lease(), ctx, |mcp, result, ctx| match result {
            Ok(()) => mcp.lease_taken(ctx),
            Err(fault) => mcp.lease_failed(fault, ctx, Self::take_lease),
        });
    }

    fn lease_taken(&mut self, ctx: &mut Context<Self>) {
        self.lease.generation += 1;
        self.lease.since = Some(Instant::now());
        let generation = self.lease.generation;
        let lost = self.catalog.lease_lost();
        self.run(Box::pin(async move { Ok(lost.await) }), ctx, |mcp, lost: Result<Fault, Fault>, ctx| {
            mcp.lease_lost(&lost.unwrap_or_else(|fault| fault), ctx);
        });
        if !self.lease.had {
            self.tell(Notice::Boot);
        }
        self.load(After::Lease(generation), ctx);
    }

    /// The lease, or reading the catalog right after it, failed; what did is tried `again` later.
    fn lease_failed(
        &mut self,
        fault: Fault,
        ctx: &mut Context<Self>,
        again: impl FnOnce(&mut Self, &mut Context<Self>) + 'static,
    ) {
        if self.ending.is_some() {
            return;
        }
        self.lease.tries += 1;
        let (tries, care) = (self.lease.tries, self.settings.supervision.lease);
        if self.is_final(&fault, tries >= care.tries_max) {
            if self.lease.had {
                error!(error = %fault, hint = fault.hint, "no hold on the control database any more, stopping");
            }
            self.shared.board.note(&ActorId::Mcp, |snapshot| snapshot.fault = Some(fault.clone()));
            return self.wind_down(Exit::Failed(fault), self.settings.schedule.grace, ctx);
        }
        let after = care.delay(tries);
        if fault.failure == Failure::Permanent && self.lease.refused.as_ref() != Some(&fault.message) {
            let hint = fault.hint.as_deref();
            error!(error = %fault, hint, ?after, "the control database lets this daemon in no more, no round starts until it does");
            self.lease.refused = Some(fault.message.clone());
        } else {
            warn!(error = %fault, hint = fault.hint, ?after, tries, "no hold on the control database, trying again");
        }
        self.shared.board.note(&ActorId::Mcp, |snapshot| snapshot.fail(Doing::Down, Some(fault), Some(after)));
        ctx.run_later(after, |mcp, ctx| {
            if mcp.ending.is_none() {
                again(mcp, ctx);
            }
        });
    }

    /// Whether it is of no use to try again. A daemon that starts is told what is wrong with its connection; one that runs
    /// waits: a role may have got another password, which is read anew with each try.
    fn is_final(&self, fault: &Fault, tried_enough: bool) -> bool {
        match (self.lease.had, fault.failure) {
            (true, Failure::Permanent) => fault.cause != Cause::Away,
            (false, Failure::Permanent) => true,
            (true, Failure::Transient) => false,
            (false, Failure::Transient) => tried_enough,
        }
    }

    /// Running rounds finish, the fences protect their targets; none starts until the lease is held again.
    fn lease_lost(&mut self, fault: &Fault, ctx: &mut Context<Self>) {
        if self.ending.is_some() {
            return;
        }
        warn!(error = %fault, hint = fault.hint, "lost the hold on the control database, no round starts until it is back");
        self.lease.generation += 1;
        self.lease.ready = false;
        self.shared.board.note(&ActorId::Mcp, |snapshot| snapshot.fail(Doing::Down, Some(fault.clone()), None));
        self.brake_all();
        let care = self.settings.supervision.lease;
        if !care.regain {
            error!("the control database was lost and is not waited for (mcp_dbproblem_sleep is 0), stopping");
            return self.wind_down(Exit::Failed(fault.clone()), self.settings.schedule.grace, ctx);
        }
        let lasted = self.lease.since.take().is_some_and(|since| since.elapsed() >= care.delay_max);
        if lasted {
            self.lease.tries = 0;
            return self.take_lease(ctx);
        }
        // A server that takes connections only to drop them is not to be asked without end.
        self.lease.tries += 1;
        self.take_lease_after(care.delay(self.lease.tries), ctx);
    }

    fn take_lease_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(wait, |mcp, ctx| {
            if mcp.ending.is_none() {
                mcp.take_lease(ctx);
            }
        });
    }

    /// Tells all children whether they may start something.
    pub(super) fn brake_all(&mut self) {
        let held = self.held();
        for (name, entry) in &self.syncs {
            if let Some(ctl) = self.ctls.get(name) {
                ctl.do_send(Brake { paused: entry.paused, held });
            }
        }
        if let Some(vac) = self.vac.get(&TheVac) {
            vac.do_send(self.tune());
        }
    }

    /// Reads the catalog for an operator.
    pub(super) fn reload_catalog(&mut self, ctx: &mut Context<Self>) {
        // One that waits already serves both.
        if !self.loads.wanted.contains(&After::Reload) {
            self.reload_begins();
        }
        self.load(After::Reload, ctx);
    }

    /// Reads the catalog, applies the difference, and does what belongs `after` it.
    pub(super) fn load(&mut self, after: After, ctx: &mut Context<Self>) {
        if !self.loads.wanted.contains(&after) {
            self.loads.wanted.push(after);
        }
        if !self.loads.running && self.ending.is_none() {
            self.loads.running = true;
            let wanted = std::mem::take(&mut self.loads.wanted);
            self.run(self.catalog.load(), ctx, |mcp, result, ctx| mcp.loaded(result, wanted, ctx));
        }
    }

    fn loaded(&mut self, result: Result<Vec<SyncPlan>, Fault>, wanted: Vec<After>, ctx: &mut Context<Self>) {
        self.loads.running = false;
        if self.ending.is_some() {
            return;
        }
        let reload = wanted.contains(&After::Reload);
        match result {
            Ok(plans) => {
                let applied = self.apply(plans, &wanted, ctx);
                wanted.into_iter().for_each(|after| self.after_load(after, &applied, ctx));
            }
            Err(fault) => wanted.into_iter().for_each(|after| self.load_failed(after, &fault, ctx)),
        }
        if reload {
            self.reload_ends();
        }
        if let Some(after) = self.loads.wanted.pop() {
            self.load(after, ctx);
        }
    }

    fn after_load(&mut self, after: After, applied: &Applied, ctx: &mut Context<Self>) {
        match after {
            After::Lease(generation) if generation == self.lease.generation => self.up(applied, ctx),
            After::Lease(_) => {} // lost again meanwhile
            After::Reload => {
                info!(syncs = self.syncs.len(), "catalog reloaded");
                self.kick_all(applied, ctx);
                Parent::<TheVac>::retry_children(self, ctx);
                self.tell(Notice::ReloadedMcp);
            }
            After::ReloadSync(sync) => self.sync_reloaded(sync, applied, ctx),
            After::Activate(sync) => self.sync_activated(sync, applied, ctx),
            After::Deactivate(sync) => self.sync_deactivated(sync),
            After::Retry(_) => {} // done while applying
        }
    }

    fn load_failed(&mut self, after: After, fault: &Fault, ctx: &mut Context<Self>) {
        match after {
            After::Lease(generation) if generation == self.lease.generation => {
                self.lease_failed(fault.clone(), ctx, move |mcp, ctx| {
                    if mcp.lease.generation == generation {
                        mcp.load(After::Lease(generation), ctx);
                    }
                });
            }
            After::Lease(_) => {} // lost again meanwhile
            After::Reload => warn!(error = %fault, hint = fault.hint, "reload failed, all syncs go on as they were"),
            After::ReloadSync(sync) => {
                warn!(%sync, error = %fault, hint = fault.hint, "reload failed, the sync goes on as it was");
                self.tell(Notice::ReloadError(sync));
            }
            After::Activate(sync) => {
                warn!(%sync, error = %fault, hint = fault.hint, "cannot activate the sync");
                self.tell(Notice::SyncError(sync));
            }
            After::Deactivate(sync) => {
                if let Some(entry) = self.syncs.get_mut(&sync) {
                    entry.plan.intent = Intent::Inactive;
                    self.stop_sync(&sync);
                }
                self.sync_deactivated(sync);
            }
            After::Retry(sync) => self.settle(&sync, &Exit::Failed(fault.clone()), ctx),
        }
    }

    /// The lease is held and the catalog is known: rounds may start.
    fn up(&mut self, applied: &Applied, ctx: &mut Context<Self>) {
        self.lease.ready = true;
        self.lease.refused = None;
        self.show.forget();
        self.shared.board.note(&ActorId::Mcp, |snapshot| {
            snapshot.enter(Doing::Active);
            snapshot.fault = None;
        });
        self.brake_all();
        self.start_child(&TheVac, ctx);
        if std::mem::replace(&mut self.lease.had, true) {
            info!("hold on the control database is back");
            return self.kick_all(applied, ctx);
        }
        if applied.active == 0 {
            info!("there is no active sync");
            self.tell(Notice::NoSyncs);
        }
        info!(syncs = applied.active, "started");
        self.tell(Notice::Started);
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(applied.active));
        }
    }

    /// Reads the settings again; they count from now on.
    pub(super) fn reload_settings(&mut self, ctx: &mut Context<Self>) {
        self.reload_begins();
        self.run(self.catalog.settings(), ctx, |mcp, result, _| {
            match result {
                Ok(settings) => {
                    mcp.settings = Arc::new(settings);
                    mcp.ctls.set_care(settings.supervision.ctl);
                    mcp.vac.set_care(settings.supervision.vac);
                    mcp.replan_all();
                    mcp.brake_all();
                    info!("settings reloaded");
                    mcp.tell(Notice::ReloadedConfig);
                }
                Err(fault) => warn!(error = %fault, hint = fault.hint, "the settings stay as they were"),
            }
            mcp.reload_ends();
        });
    }
}
