//! The runs of a sync that has custom codes around them.
//!
//! A run begins when there is work for KIDs and none is under way: codes before it run first, no KID begins a round
//! meanwhile. It takes the KIDs that had work then, and is over when each of them has ended well or failed; those that
//! are quicker go on with further rounds until the last has ended. Then no more rounds begin until the codes after the
//! run have ended, too. Those run when nobody has failed and something was brought, and who waits for an answer gets it
//! after them.
//!
//! Without such codes nothing of this happens: KIDs never wait for each other.

use std::collections::BTreeSet;

use actix::prelude::*;
use tokio::time::Instant;
use tracing::info;

use super::{Ctl, is_able};
use crate::agenda::Over;
use crate::model::{Fault, KidId, RoundReport, Work};
use crate::outbox::Answer;
use crate::policy::Exit;
use crate::ports::{Go, Point};

/// What a CTL knows of its present run.
#[derive(Default)]
pub(super) struct Run {
    stage: Stage,
    /// What its rounds have brought.
    sum: RoundReport,
    /// A KID has failed.
    failed: bool,
    /// Answers that are due when it is over.
    held: Vec<Over<Answer>>,
}

#[derive(Default)]
enum Stage {
    /// None is under way, or there are no codes.
    #[default]
    Between,
    /// The codes before it run.
    Before,
    /// Rounds run; these KIDs are waited for.
    Open(BTreeSet<KidId>),
    /// The codes after it run.
    After,
}

impl Run {
    /// Codes run now.
    pub(super) fn is_coding(&self) -> bool {
        matches!(self.stage, Stage::Before | Stage::After)
    }

    /// What has begun is to be finished although the CTL is about to end.
    pub(super) fn is_finishing(&self) -> bool {
        matches!(self.stage, Stage::After)
    }

    /// Nothing of a run is under way.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.stage, Stage::Between)
    }
}

impl Ctl {
    /// KIDs that would begin a round now.
    fn ready(&self) -> BTreeSet<KidId> {
        self.agenda.due().into_iter().filter(|kid| is_able(self.kids.standing(kid))).collect()
    }

    /// Whether rounds may begin now. If not, they do when the codes that hold them up have ended.
    pub(super) fn may_begin(&mut self, ctx: &mut Context<Self>) -> bool {
        match &self.run.stage {
            Stage::Between if !self.plan.codes.before && !self.plan.codes.after => true,
            Stage::Between => {
                let ready = self.ready();
                if ready.is_empty() {
                    return true; // to nobody
                }
                self.run = Run { held: std::mem::take(&mut self.run.held), ..Run::default() };
                if self.plan.codes.before {
                    self.run.stage = Stage::Before;
                    self.run_codes(Point::BeforeSync, ctx);
                    return false;
                }
                self.run.stage = Stage::Open(ready);
                true
            }
            Stage::Open(awaited) => !awaited.is_empty(),
            Stage::Before | Stage::After => false,
        }
    }

    fn run_codes(&mut self, point: Point, ctx: &mut Context<Self>) {
        let codes = self.shared.hooks.run(&self.plan.name, point, self.run.sum.clone());
        let work = self.shared.workers.run(codes);
        ctx.spawn(work.into_actor(self).map(move |ended, ctl, ctx| {
            match ended {
                Ok(Ok(go)) => ctl.codes_ended(point, go, ctx),
                Ok(Err(fault)) => ctl.codes_failed(point, fault, ctx),
                Err(exit) => ctl.life.end(exit, ctx),
            };
        }));
    }

    fn codes_ended(&mut self, point: Point, go: Go, ctx: &mut Context<Self>) {
        match (point, go) {
            (Point::BeforeSync, Go::On) => self.run.stage = Stage::Open(self.ready()),
            (Point::BeforeSync, Go::Leave) => {
                info!(sync = %self.plan.name, "a custom code ended the run before it began (endsync)");
                self.run.stage = Stage::Between;
                // It waits for the next kick.
                for kid in self.agenda.due() {
                    if self.agenda.begin(&kid).is_some() {
                        let over = self.agenda.ended(&kid, false);
                        self.done(over, ctx);
                    }
                }
            }
            (Point::AfterSync, _) => self.run.stage = Stage::Between,
        }
        self.go_on(ctx);
    }

    /// A failure ends its actor: the MCP starts the sync again, later.
    fn codes_failed(&mut self, point: Point, fault: Fault, ctx: &mut Context<Self>) {
        if point == Point::BeforeSync {
            for kid in self.ready() {
                let records = self.runs.failed(&kid, fault.clone(), None, Instant::now());
                self.record(records);
            }
        }
        let records = self.runs.take_all(Instant::now());
        self.record(records);
        self.run.held.drain(..).for_each(Self::killed);
        self.life.end(Exit::Failed(fault), ctx);
    }

    /// A round of the run ended well.
    pub(super) fn run_moved(&mut self, kid: &KidId, report: &RoundReport) {
        let Stage::Open(awaited) = &mut self.run.stage else { return };
        if !report.more {
            awaited.remove(kid);
        }
        if !report.is_empty() {
            self.run.sum.absorb(report);
            if kid.work == Work::Merge {
                // What it has brought is on its way through those that follow.
                let follows = |kid: &&KidId| matches!(kid.work, Work::Follow { .. });
                let able = |kid: &&KidId| is_able(self.kids.standing(kid));
                awaited.extend(self.agenda.kids().filter(follows).filter(able).cloned());
            }
        }
    }

    /// A KID of the run failed.
    pub(super) fn run_failed(&mut self, kid: &KidId) {
        if let Stage::Open(awaited) = &mut self.run.stage {
            awaited.remove(kid);
            self.run.failed = true;
        }
    }

    /// Whether answers wait for the end of the run.
    pub(super) fn hold(&mut self, over: Over<Answer>) -> Option<Over<Answer>> {
        let holds = match self.run.stage {
            Stage::Open(_) => self.plan.codes.after,
            Stage::After => true,
            Stage::Between | Stage::Before => false,
        };
        if !holds {
            return Some(over);
        }
        self.run.held.push(over);
        None
    }

    /// Ends the run if nobody is waited for any more.
    pub(super) fn end_run(&mut self, ctx: &mut Context<Self>) {
        let Stage::Open(awaited) = &mut self.run.stage else { return };
        awaited.retain(|kid| self.agenda.has(kid) && is_able(self.kids.standing(kid)) && !self.agenda.idle(kid));
        if !awaited.is_empty() || self.agenda.running() > 0 {
            return;
        }
        if self.plan.codes.after && !self.run.failed && !self.run.sum.is_empty() {
            self.run.stage = Stage::After;
            return self.run_codes(Point::AfterSync, ctx);
        }
        self.run.stage = Stage::Between;
        self.go_on(ctx);
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.run.is_between() {
            for over in std::mem::take(&mut self.run.held) {
                self.done(over, ctx);
            }
        }
        self.grant(ctx);
        self.end_run(ctx);
        self.show();
        self.rest(ctx);
        self.end_if_alone(ctx);
    }
}
