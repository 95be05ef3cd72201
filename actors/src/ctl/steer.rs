//! What a CTL is told from above: other plans, brakes, pings and the end.

use actix::prelude::*;

use super::{Ctl, is_able, merge_of};
use crate::board::{ActorId, Doing};
use crate::health::ask;
use crate::messages::{Brake, Leave, Ping, PingActor, Pong, Replan, Retry, Stays, Stop};
use crate::model::KidId;
use crate::nursery::Parent;
use crate::ports::Notice;

impl Handler<Leave> for Ctl {
    type Result = ();

    fn handle(&mut self, leave: Leave, ctx: &mut Context<Self>) {
        if !leave.worn_out && !self.stopping && !self.is_at_rest() {
            // A round that fails has a KID that waits, and who else would start it again?
            self.asked_to_rest = false;
            let (sync, generation) = (self.plan.name.clone(), self.life.generation());
            return self.mcp.do_send(Stays { sync, generation });
        }
        self.leaving = true;
        self.rest(ctx);
    }
}

impl Handler<Retry> for Ctl {
    type Result = ();

    fn handle(&mut self, retry: Retry, ctx: &mut Context<Self>) {
        match retry.db {
            _ if self.stopping => {}
            None => self.retry_children(ctx),
            Some(db) => {
                let board = &self.shared.board;
                let lacks = |kid: &KidId| {
                    let fault = board.get(&ActorId::Kid(kid.clone())).and_then(|snapshot| snapshot.fault);
                    fault.is_some_and(|fault| fault.unreachable() == Some(&db) || fault.lacks_all())
                };
                let waits = |kid: &&KidId| !is_able(self.kids.standing(kid));
                let waiting = self.agenda.kids().filter(waits).filter(|kid| lacks(kid)).cloned();
                for kid in waiting.collect::<Vec<_>>() {
                    self.revive(&kid, ctx);
                }
            }
        }
    }
}

impl Handler<Replan> for Ctl {
    type Result = ();

    fn handle(&mut self, new: Replan, ctx: &mut Context<Self>) {
        let renew = new.renew || new.plan.fingerprint != self.plan.fingerprint;
        self.plan = new.plan;
        self.settings = new.settings;
        self.kids.set_care(self.settings.supervision.kid);
        self.kids.set_care_of(merge_of(&self.plan), self.settings.supervision.merge);
        let gone: Vec<KidId> = self.agenda.kids().filter(|kid| !new.kids.contains(kid)).cloned().collect();
        for kid in gone {
            self.remove_kid(&kid, ctx);
        }
        if renew {
            self.kids.stop_all(self.settings.schedule.grace); // those with work are started anew when they have ended
        }
        for kid in new.kids {
            if !self.agenda.has(&kid) {
                self.shared.board.note(&ActorId::Kid(kid.clone()), |snapshot| snapshot.enter(Doing::Idle));
                self.agenda.add(kid);
            }
        }
        self.set_check(ctx);
        self.grant(ctx);
    }
}

impl Handler<Brake> for Ctl {
    type Result = ();

    fn handle(&mut self, brake: Brake, ctx: &mut Context<Self>) {
        self.brake = brake;
        if self.brake.paused {
            Self::killed(self.agenda.give_up());
        }
        self.grant(ctx);
        self.show();
    }
}

impl Handler<Ping> for Ctl {
    type Result = MessageResult<Ping>;

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Pong::default()) // its work is done by the KIDs
    }
}

impl Handler<PingActor> for Ctl {
    type Result = ();

    fn handle(&mut self, ping: PingActor, ctx: &mut Context<Self>) {
        let ActorId::Kid(kid) = &ping.id else { return };
        let (outbox, within) = (self.shared.outbox.clone(), self.settings.supervision.kid.ping.within);
        if let Some(addr) = self.kids.get(kid).cloned() {
            ask(&addr, within, ctx, move || outbox.tell(Notice::Pong(ping.id)));
        }
    }
}

impl Handler<Stop> for Ctl {
    type Result = ();

    fn handle(&mut self, stop: Stop, ctx: &mut Context<Self>) {
        self.wind_down(stop.grace, ctx);
    }
}
