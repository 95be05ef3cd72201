//! The VAC: has delivered changes purged, on a period and on request.

use std::fmt;
use std::sync::Arc;

use actix::prelude::*;

use crate::board::{ActorId, Board, Doing};
use crate::lifeline::Lifeline;
use crate::messages::{Ping, Pong, PurgeNow, Stop, Tune};
use crate::model::Fault;
use crate::policy::{Exit, Settings};
use crate::ports::{PurgeReport, Purger};
use crate::work::Workers;

/// Names the VAC in the nursery of the MCP: there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TheVac;

impl fmt::Display for TheVac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vac")
    }
}

/// Tells the parent that a purge ended well.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Purged {
    pub(crate) generation: u64,
}

/// Has delivered changes purged from the sources. A failed purge ends it; the MCP starts it again.
pub struct Vac {
    purger: Arc<dyn Purger>,
    workers: Workers,
    board: Arc<Board>,
    mcp: Recipient<Purged>,
    settings: Arc<Settings>,
    held: bool,
    busy: bool,
    again: bool,
    leaving: bool,
    timer: Option<SpawnHandle>,
    life: Lifeline<TheVac>,
}

impl Vac {
    pub(crate) fn new(
        life: Lifeline<TheVac>,
        purger: Arc<dyn Purger>,
        workers: Workers,
        board: Arc<Board>,
        mcp: Recipient<Purged>,
        tune: Tune,
    ) -> Self {
        let Tune { settings, held } = tune;
        let (busy, again, leaving, timer) = (false, false, false, None);
        Self { purger, workers, board, mcp, settings, held, busy, again, leaving, timer, life }
    }

    fn purge(&mut self, ctx: &mut Context<Self>) {
        if self.held || self.leaving || self.life.stop().is_cancelled() {
            return;
        }
        if self.busy {
            self.again = true;
            return;
        }
        self.busy = true;
        self.board.follow(&ActorId::Vac, self.life.watch());
        self.board.note(&ActorId::Vac, |snapshot| snapshot.enter(Doing::Running));
        let watch = self.life.watch().clone();
        watch.moved(1);
        let purger = Arc::clone(&self.purger);
        let paused = self.board.paused();
        let purge = self.workers.run(async move { purger.purge(watch, paused).await });
        ctx.spawn(purge.into_actor(self).map(|ended, vac, ctx| vac.purged(ended, ctx)));
    }

    fn purged(&mut self, ended: Result<Result<PurgeReport, Fault>, Exit>, ctx: &mut Context<Self>) {
        self.busy = false;
        let exit = match ended {
            Ok(Ok(report)) => {
                if report.rows > 0 {
                    tracing::debug!(rows = report.rows, held_back = report.held_back, "purged");
                }
                self.board.note(&ActorId::Vac, |snapshot| {
                    snapshot.enter(Doing::Idle);
                    snapshot.fault = None;
                    snapshot.counters.rounds += 1;
                    snapshot.counters.purged += report.rows;
                    snapshot.last_at = Some(std::time::SystemTime::now());
                });
                self.mcp.do_send(Purged { generation: self.life.generation() });
                if !self.leaving {
                    if std::mem::take(&mut self.again) {
                        self.purge(ctx);
                    }
                    return;
                }
                Exit::Stopped
            }
            _ if self.life.stop().is_cancelled() => Exit::Stopped,
            Ok(Err(fault)) => Exit::Failed(fault),
            Err(exit) => exit,
        };
        self.life.end(exit, ctx);
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let timer = ctx.run_interval(self.settings.schedule.purge_every, Self::purge);
        if let Some(old) = self.timer.replace(timer) {
            ctx.cancel_future(old);
        }
    }

    fn cancelled(&mut self, ctx: &mut Context<Self>) {
        self.leaving = true;
        if self.busy {
            ctx.run_later(self.settings.schedule.cancel_within, |vac, ctx| vac.life.end(Exit::Stopped, ctx));
        } else {
            self.life.end(Exit::Stopped, ctx);
        }
    }
}

impl Actor for Vac {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.life.heed(ctx, Self::cancelled);
        self.board.note(&ActorId::Vac, |snapshot| snapshot.enter(Doing::Idle));
        self.set_timer(ctx);
        self.purge(ctx); // after a failure this shows whether it is over
    }
}

impl Handler<PurgeNow> for Vac {
    type Result = ();

    fn handle(&mut self, _: PurgeNow, ctx: &mut Context<Self>) {
        self.purge(ctx);
    }
}

impl Handler<Tune> for Vac {
    type Result = ();

    fn handle(&mut self, tune: Tune, ctx: &mut Context<Self>) {
        let old = std::mem::replace(&mut self.settings, tune.settings).schedule.purge_every;
        self.held = tune.held;
        if self.settings.schedule.purge_every != old {
            self.set_timer(ctx);
        }
    }
}

impl Handler<Ping> for Vac {
    type Result = MessageResult<Ping>;

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> Self::Result {
        let watch = self.life.watch();
        MessageResult(Pong { busy: self.busy, work_done: watch.progress(), doing: watch.doing() })
    }
}

impl Handler<Stop> for Vac {
    type Result = ();

    fn handle(&mut self, stop: Stop, ctx: &mut Context<Self>) {
        self.leaving = true;
        if self.busy {
            ctx.run_later(stop.grace, |vac, _| vac.life.stop().cancel());
        } else {
            self.life.end(Exit::Stopped, ctx);
        }
    }
}
