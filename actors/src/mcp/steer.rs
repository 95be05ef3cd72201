//! What operators and listeners ask of the MCP.

use std::time::Duration;

use actix::prelude::*;
use tracing::{info, warn};

use super::Mcp;
use super::lease::After;
use super::syncs::Entry;
use crate::board::{ActorId, Doing};
use crate::health::ask;
use crate::messages::{
    Brake, CheckDb, ControlHeard, DbBack, Kick, KickDb, Look, McpPing, PingActor, Reload, ReloadConfig, ReloadSync,
    Rest, Retry, SetState, Stays, StopVac, Undone, Wish,
};
use crate::model::{DbName, Reason, SyncName};
use crate::nursery::{Parent, Standing};
use crate::outbox::Answer;
use crate::ports::Notice;
use crate::vac::TheVac;

impl Mcp {
    pub(super) fn kick(&mut self, name: SyncName, reason: Reason, ctx: &mut Context<Self>) {
        let asked = reason == Reason::Request;
        let entry = self.syncs.get_mut(&name).filter(|entry| entry.active() && !entry.paused);
        let Some(entry) = entry.filter(|_| self.ending.is_none()) else {
            // Nobody waits for an answer to a change; a paused sync may have thousands.
            if asked {
                warn!(sync = %name, "kick of a sync that is unknown, inactive or paused");
                self.tell(Notice::SyncError(name));
            }
            return;
        };
        if matches!(reason, Reason::Change | Reason::Back) && !entry.plan.listens {
            return;
        }
        let answer = || Answer::new(name.clone(), self.shared.outbox.clone());
        let worn_out = match self.ctls.get(&name) {
            Some(ctl) if !entry.is_worn_out() => {
                return ctl.do_send(Look { reason, retry: asked, answer: answer() });
            }
            Some(_) => true,
            None => false,
        };
        let waits = worn_out || entry.leaving || entry.resting;
        if asked {
            entry.kick.get_or_insert_with(answer);
        } else if waits {
            entry.look = Some(entry.look.map_or(reason, |known| known.and(reason)));
        }
        if worn_out {
            info!(sync = %name, "controller is replaced (lifetime, maxkicks)");
            self.let_go(&name, true);
        } else if asked || self.syncs.get(&name).is_some_and(|entry| entry.resting) {
            self.revive(&name, ctx); // one that is stopping is started anew when it has ended
        }
    }

    fn pause(&mut self, name: SyncName, paused: bool, ctx: &mut Context<Self>) {
        let held = self.held();
        let Some(entry) = self.syncs.get_mut(&name).filter(|entry| entry.active()) else {
            warn!(sync = %name, "cannot pause or resume a sync that is unknown or inactive");
            return self.tell(Notice::SyncError(name));
        };
        entry.paused = paused;
        if entry.resting {
            let state = if paused { Doing::Paused } else { Doing::Finished };
            self.shared.board.note(&ActorId::Ctl(name.clone()), |snapshot| snapshot.enter(state));
        }
        if let Some(ctl) = self.ctls.get(&name) {
            ctl.do_send(Brake { paused, held });
        }
        info!(sync = %name, "{}", if paused { "sync is paused" } else { "sync is resumed" });
        if paused {
            return self.tell(Notice::Paused(name));
        }
        self.wake(&name, ctx);
        self.tell(Notice::Resumed(name));
    }

    /// Has everybody try again at once who could not reach this database.
    fn retry_without(&self, db: &DbName) {
        for entry in self.syncs.values().filter(|entry| entry.plan.dbs().any(|own| own == db)) {
            if let Some(ctl) = self.ctls.get(&entry.plan.name) {
                ctl.do_send(Retry { db: Some(db.clone()) });
            }
        }
    }

    fn set_active(&mut self, name: SyncName, active: bool, ctx: &mut Context<Self>) {
        self.run(self.catalog.set_active(name.clone(), active), ctx, move |mcp, result, ctx| match result {
            Ok(()) if active => {
                if let Some(entry) = mcp.syncs.get_mut(&name) {
                    entry.paused = false;
                }
                mcp.brake_all();
                mcp.load(After::Activate(name), ctx);
            }
            Ok(()) => mcp.load(After::Deactivate(name), ctx),
            Err(fault) => {
                warn!(sync = %name, active, error = %fault, hint = fault.hint, "the sync stays as it was");
                mcp.tell(Notice::SyncError(name));
            }
        });
    }
}

impl Handler<Kick> for Mcp {
    type Result = ();

    fn handle(&mut self, kick: Kick, ctx: &mut Context<Self>) {
        self.kick(kick.sync, kick.reason, ctx);
    }
}

impl Handler<KickDb> for Mcp {
    type Result = ();

    fn handle(&mut self, back: KickDb, ctx: &mut Context<Self>) {
        if self.shared.reached(&back.db) {
            self.retry_without(&back.db);
        }
        let readers = self.syncs.values().filter(|entry| entry.plan.sources.contains(&back.db));
        for name in readers.map(|entry| entry.plan.name.clone()).collect::<Vec<_>>() {
            // The database is reachable, so there is no need to wait any longer for another try.
            if let Some(ctl) = self.ctls.get(&name) {
                ctl.do_send(Retry { db: None });
            }
            self.kick(name, Reason::Back, ctx);
        }
    }
}

impl Handler<CheckDb> for Mcp {
    type Result = ();

    fn handle(&mut self, check: CheckDb, ctx: &mut Context<Self>) {
        let uses = |entry: &&Entry| entry.active() && entry.plan.dbs().any(|db| *db == check.db);
        let names: Vec<SyncName> = self.syncs.values().filter(uses).map(|entry| entry.plan.name.clone()).collect();
        info!(db = %check.db, syncs = names.len(), "somebody says that the database does not answer, its syncs are looked at");
        names.into_iter().for_each(|name| self.kick(name, Reason::Check, ctx));
    }
}

impl Handler<StopVac> for Mcp {
    type Result = ();

    fn handle(&mut self, _: StopVac, ctx: &mut Context<Self>) {
        if self.vac.get(&TheVac).is_none() {
            return;
        }
        let again = self.settings.supervision.vac.ping.every;
        info!(?again, "VAC is stopped, and starts anew after a while");
        self.vac.stop(&TheVac, Duration::ZERO);
        ctx.run_later(again, |mcp, ctx| {
            if mcp.ending.is_none() && mcp.vac.standing(&TheVac) == Standing::Absent {
                Parent::<TheVac>::start_child(mcp, &TheVac, ctx);
            }
        });
    }
}

impl Handler<Rest> for Mcp {
    type Result = ();

    fn handle(&mut self, rest: Rest, _: &mut Context<Self>) {
        let stays = self.syncs.get(&rest.sync).is_none_or(|entry| entry.plan.stayalive);
        if !stays && self.ctls.is_current(&rest.sync, rest.generation) {
            self.let_go(&rest.sync, false);
        }
    }
}

impl Handler<Stays> for Mcp {
    type Result = ();

    fn handle(&mut self, stays: Stays, _: &mut Context<Self>) {
        if self.ending.is_none() && self.ctls.is_current(&stays.sync, stays.generation) {
            self.stays(&stays.sync, stays.generation);
        }
    }
}

impl Handler<Undone> for Mcp {
    type Result = ();

    fn handle(&mut self, undone: Undone, _: &mut Context<Self>) {
        if let Some(entry) = self.syncs.get_mut(&undone.0).filter(|entry| entry.active()) {
            entry.look = Some(entry.look.map_or(Reason::Start, |known| known.and(Reason::Start)));
        }
    }
}

impl Handler<DbBack> for Mcp {
    type Result = ();

    fn handle(&mut self, back: DbBack, _: &mut Context<Self>) {
        self.retry_without(&back.0);
    }
}

impl Handler<ControlHeard> for Mcp {
    type Result = ();

    fn handle(&mut self, _: ControlHeard, ctx: &mut Context<Self>) {
        // Without a hold it is read anyhow once there is one; a read that is under way may have been too early.
        if self.lease.ready || self.loads.is_running() {
            self.reload_catalog(ctx);
        }
    }
}

impl Handler<Reload> for Mcp {
    type Result = ();

    fn handle(&mut self, _: Reload, ctx: &mut Context<Self>) {
        self.reload_catalog(ctx);
    }
}

impl Handler<ReloadConfig> for Mcp {
    type Result = ();

    fn handle(&mut self, _: ReloadConfig, ctx: &mut Context<Self>) {
        self.reload_settings(ctx);
    }
}

impl Handler<ReloadSync> for Mcp {
    type Result = ();

    fn handle(&mut self, reload: ReloadSync, ctx: &mut Context<Self>) {
        self.load(After::ReloadSync(reload.sync), ctx);
    }
}

impl Handler<SetState> for Mcp {
    type Result = ();

    fn handle(&mut self, set: SetState, ctx: &mut Context<Self>) {
        match set.wish {
            Wish::Activate => self.set_active(set.sync, true, ctx),
            Wish::Deactivate => self.set_active(set.sync, false, ctx),
            Wish::Pause => self.pause(set.sync, true, ctx),
            Wish::Resume => self.pause(set.sync, false, ctx),
        }
    }
}

impl Handler<PingActor> for Mcp {
    type Result = ();

    fn handle(&mut self, ping: PingActor, ctx: &mut Context<Self>) {
        let (outbox, within) = (self.shared.outbox.clone(), self.settings.supervision.ctl.ping.within);
        let id = ping.id.clone();
        let tell = move || outbox.tell(Notice::Pong(id));
        match &ping.id {
            ActorId::Mcp => tell(),
            ActorId::Vac => {
                if let Some(vac) = self.vac.get(&TheVac).cloned() {
                    ask(&vac, within, ctx, tell);
                }
            }
            ActorId::Ctl(sync) => {
                if let Some(ctl) = self.ctls.get(sync).cloned() {
                    ask(&ctl, within, ctx, tell);
                }
            }
            ActorId::Kid(kid) => {
                if let Some(ctl) = self.ctls.get(&kid.sync) {
                    ctl.do_send(ping);
                }
            }
            ActorId::Db(_) | ActorId::Table(_) => {}
        }
    }
}

impl Handler<McpPing> for Mcp {
    type Result = ();

    fn handle(&mut self, _: McpPing, _: &mut Context<Self>) {
        self.tell(Notice::McpPong);
    }
}
