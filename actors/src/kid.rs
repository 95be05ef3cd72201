//! The KID: runs the rounds of one source-target pair, one at a time.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::lifeline::Lifeline;
use crate::messages::{Ping, Pong, RoundEnded, RunRound, Stop};
use crate::model::{Fault, KidId, RoundReport};
use crate::policy::Exit;
use crate::ports::{Replicator, Rounds};
use crate::work::Workers;

/// What comes back from the workers: the rounds for next time, and how this one ended.
type Round = (Box<dyn Rounds>, Result<RoundReport, Fault>);

/// Runs the rounds of one source-target pair. Database work happens on the worker runtime, so a
/// `Ping` is answered even while a round hangs on a lock.
pub struct Kid {
    replicator: Arc<dyn Replicator>,
    workers: Workers,
    ctl: Recipient<RoundEnded>,
    cancel_within: Duration,
    rounds: Option<Box<dyn Rounds>>, // with the work while a round runs
    busy: bool,
    leaving: bool,
    life: Lifeline<KidId>, // dropped with the actor, even by a panic: CTL learns why it ended
}

impl Kid {
    pub(crate) fn new(
        life: Lifeline<KidId>,
        replicator: Arc<dyn Replicator>,
        workers: Workers,
        ctl: Recipient<RoundEnded>,
        cancel_within: Duration,
    ) -> Self {
        Self { replicator, workers, ctl, cancel_within, rounds: None, busy: false, leaving: false, life }
    }

    fn round_ended(&mut self, ended: Result<Round, Exit>, ctx: &mut Context<Self>) {
        self.busy = false;
        match ended {
            Ok((rounds, Ok(report))) => {
                self.rounds = Some(rounds);
                let (kid, generation) = (self.life.key().clone(), self.life.generation());
                self.ctl.do_send(RoundEnded { kid, generation, report });
                if self.leaving {
                    self.life.end(Exit::Stopped, ctx);
                }
            }
            // What a cancelled round says of itself is no failure.
            _ if self.life.stop().is_cancelled() => self.life.end(Exit::Stopped, ctx),
            // A failed round ends its KID; when to try again is CTL's policy, not ours.
            Ok((_, Err(fault))) => self.life.end(Exit::Failed(fault), ctx),
            Err(exit) => self.life.end(exit, ctx),
        }
    }

    /// The round may notice the cancelled token and end in good order; if not, it is dropped with the actor.
    fn cancelled(&mut self, ctx: &mut Context<Self>) {
        self.leaving = true;
        if self.busy {
            ctx.run_later(self.cancel_within, |kid, ctx| kid.life.end(Exit::Stopped, ctx));
        } else {
            self.life.end(Exit::Stopped, ctx);
        }
    }
}

impl Actor for Kid {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.life.heed(ctx, Self::cancelled);
    }
}

impl Handler<RunRound> for Kid {
    type Result = ();

    fn handle(&mut self, order: RunRound, ctx: &mut Context<Self>) {
        debug_assert!(!self.busy, "CTL grants one round at a time");
        if self.leaving || self.life.stop().is_cancelled() {
            return;
        }
        self.busy = true;
        let watch = self.life.watch().clone();
        watch.moved(1);
        let (replicator, kid, rounds) = (Arc::clone(&self.replicator), self.life.key().clone(), self.rounds.take());
        let round = self.workers.run(async move {
            let mut rounds = rounds.unwrap_or_else(|| replicator.open(&kid));
            let ended = rounds.round(order.reason, watch).await;
            (rounds, ended)
        });
        ctx.spawn(round.into_actor(self).map(|ended, kid, ctx| kid.round_ended(ended, ctx)));
    }
}

impl Handler<Ping> for Kid {
    type Result = MessageResult<Ping>;

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> Self::Result {
        let watch = self.life.watch();
        MessageResult(Pong { busy: self.busy, work_done: watch.progress(), doing: watch.doing() })
    }
}

impl Handler<Stop> for Kid {
    type Result = ();

    fn handle(&mut self, stop: Stop, ctx: &mut Context<Self>) {
        self.leaving = true;
        if self.busy {
            ctx.run_later(stop.grace, |kid, _| kid.life.stop().cancel());
        } else {
            self.life.end(Exit::Stopped, ctx);
        }
    }
}
