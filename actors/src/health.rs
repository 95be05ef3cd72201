//! Is the mailbox alive, and does the work move? A judgement of what pings brought back.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use crate::mcp::Mcp;
use crate::messages::{Ping, Pong};
use crate::policy::Care;

/// Asks an actor how it is, for somebody outside: `tell` hears if it answers.
pub(crate) fn ask<A, B>(addr: &Addr<A>, within: Duration, ctx: &mut Context<B>, tell: impl FnOnce() + 'static)
where
    A: Actor<Context = Context<A>> + Handler<Ping>,
    B: Actor<Context = Context<B>>,
{
    let question = addr.send(Ping).timeout(within);
    ctx.spawn(actix::fut::wrap_future::<_, B>(question).map(|answer, _, _| {
        if answer.is_ok() {
            tell();
        }
    }));
}

/// Calls `beat` every so often as long as the MCP answers. Silence means that the thread of the actors, or the MCP itself,
/// is stuck: nobody inside can help then. An MCP that has ended is not stuck; how long an end may take, others know.
pub fn beat(mcp: Addr<Mcp>, every: Duration, beat: impl Fn() + 'static) {
    actix::spawn(async move {
        let mut timer = tokio::time::interval(every);
        loop {
            timer.tick().await;
            if matches!(mcp.send(Ping).await, Ok(_) | Err(MailboxError::Closed)) {
                beat();
            }
        }
    });
}

/// What is known of one child's health.
#[derive(Clone, Debug)]
pub struct Pulse {
    asked: bool,
    missed: u32,
    work_done: u64,
    moved_at: Instant,
}

impl Pulse {
    /// A child that just started.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { asked: false, missed: 0, work_done: 0, moved_at: now }
    }

    /// Whether to ask now: not while the last question is open.
    pub fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// Judges the answer to a ping, or that none came (`None`). `Some` says why the child counts as unresponsive.
    pub fn answered(&mut self, pong: Option<&Pong>, care: &Care, now: Instant) -> Option<String> {
        self.asked = false;
        let Some(pong) = pong else {
            self.missed += 1;
            let sick = self.missed >= care.ping.missed_max;
            return sick.then(|| format!("did not answer {} pings in a row", self.missed));
        };
        self.missed = 0;
        if !pong.busy || pong.work_done != self.work_done {
            self.work_done = pong.work_done;
            self.moved_at = now;
        }
        let still = now.duration_since(self.moved_at);
        (still >= care.progress.within).then(|| match pong.doing.as_str() {
            "" => format!("nothing moved for {} s", still.as_secs()),
            doing => format!("nothing moved for {} s at step \"{doing}\"", still.as_secs()),
        })
    }
}
