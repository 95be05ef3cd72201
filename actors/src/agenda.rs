//! What is to be done for each KID of a sync, and who waits for it. Pure: no actors, no clock.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{KidId, Reason};

/// So many kicks wait for different rounds; further ones share the last answer.
const TICKETS_MAX: usize = 16;

/// Dirty bits per KID, and the kicks that wait for an answer (`A`).
#[derive(Debug)]
pub(crate) struct Agenda<A> {
    desks: BTreeMap<KidId, Desk>,
    tickets: VecDeque<Ticket<A>>,
    /// Rounds that have begun.
    turns: u64,
}

#[derive(Debug, Default)]
struct Desk {
    dirty: Option<Reason>,
    running: Option<Reason>,
    /// Number of the last round that began.
    begun: u64,
    /// Its place among the rounds of all KIDs.
    turn: u64,
}

/// A kick: answered when every KID has ended a round with (at least) this number.
#[derive(Debug)]
struct Ticket<A> {
    need: BTreeMap<KidId, u64>,
    asked: bool,
    answer: A,
}

/// Kicks that are over, by whether somebody waits for their answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Over<A> {
    /// Answers of requests.
    pub(crate) asked: Vec<A>,
    /// Answers of all other kicks.
    pub(crate) unasked: Vec<A>,
}

impl<A> Over<A> {
    pub(crate) fn none() -> Self {
        Self { asked: Vec::new(), unasked: Vec::new() }
    }

    fn push(&mut self, ticket: Ticket<A>) {
        if ticket.asked { self.asked.push(ticket.answer) } else { self.unasked.push(ticket.answer) }
    }
}

impl<A> Agenda<A> {
    pub(crate) fn new() -> Self {
        Self { desks: BTreeMap::new(), tickets: VecDeque::new(), turns: 0 }
    }

    pub(crate) fn add(&mut self, kid: KidId) {
        self.desks.entry(kid).or_default();
    }

    /// Forgets a KID; returns the answers of kicks that waited only for it.
    pub(crate) fn remove(&mut self, kid: &KidId) -> Over<A> {
        self.desks.remove(kid);
        self.satisfy(|ticket| {
            ticket.need.remove(kid);
        })
    }

    pub(crate) fn kids(&self) -> impl Iterator<Item = &KidId> {
        self.desks.keys()
    }

    pub(crate) fn has(&self, kid: &KidId) -> bool {
        self.desks.contains_key(kid)
    }

    /// There is work for the KIDs that are `meant`. The answer waits for those that are `able` to run. Returns the answers that are
    /// not needed: this one, when no KID can run or when an earlier kick is served by the same rounds; and for a
    /// request those of earlier kicks that nobody asked for, since the requester would take them for its own.
    pub(crate) fn kick(
        &mut self,
        reason: Reason,
        meant: impl Fn(&KidId) -> bool,
        able: impl Fn(&KidId) -> bool,
        answer: A,
    ) -> Vec<A> {
        let asked = reason == Reason::Request;
        let mut need = BTreeMap::new();
        for (kid, desk) in self.desks.iter_mut().filter(|(kid, _)| meant(kid)) {
            desk.mark(reason);
            if able(kid) {
                need.insert(kid.clone(), desk.begun + 1);
            }
        }
        let mut spare = Vec::new();
        if asked {
            spare.extend(self.split(|ticket| !ticket.asked).into_iter().map(|ticket| ticket.answer));
        }
        let full = self.tickets.len() >= TICKETS_MAX;
        match self.tickets.back_mut() {
            _ if need.is_empty() => spare.push(answer),
            Some(last) if full || last.need == need => {
                last.need.extend(need);
                last.asked |= asked;
                spare.push(answer);
            }
            _ => self.tickets.push_back(Ticket { need, asked, answer }),
        }
        spare
    }

    /// The round of `from` has left work for those that are `meant`. Who waits for that round also waits for theirs, as
    /// far as they are `able` to run. To be told before the end of the round.
    pub(crate) fn pass_on(&mut self, from: &KidId, meant: impl Fn(&KidId) -> bool, able: impl Fn(&KidId) -> bool) {
        let begun = self.desks.get(from).map_or(0, |desk| desk.begun);
        let mut next = Vec::new();
        for (kid, desk) in self.desks.iter_mut().filter(|(kid, _)| meant(kid)) {
            desk.mark(Reason::Change);
            if able(kid) {
                next.push((kid.clone(), desk.begun + 1));
            }
        }
        let waiting = |ticket: &&mut Ticket<A>| ticket.need.get(from).is_some_and(|need| *need <= begun);
        for ticket in self.tickets.iter_mut().filter(waiting) {
            ticket.need.extend(next.iter().cloned());
        }
    }

    /// KIDs that have work and do none; first the one whose last round is the longest ago.
    pub(crate) fn due(&self) -> Vec<KidId> {
        let waits = |(_, desk): &(&KidId, &Desk)| desk.dirty.is_some() && desk.running.is_none();
        let mut due: Vec<(&KidId, &Desk)> = self.desks.iter().filter(waits).collect();
        due.sort_by_key(|(_, desk)| desk.turn);
        due.into_iter().map(|(kid, _)| kid.clone()).collect()
    }

    /// A round begins; `None` if the KID has no work or is at work already.
    pub(crate) fn begin(&mut self, kid: &KidId) -> Option<Reason> {
        let desk = self.desks.get_mut(kid).filter(|desk| desk.running.is_none())?;
        desk.running = desk.dirty.take();
        if desk.running.is_some() {
            self.turns += 1;
            desk.turn = self.turns;
            desk.begun += 1;
        }
        desk.running
    }

    /// The running round ended well, leaving `more` behind; returns the answers of kicks that are served by it.
    pub(crate) fn ended(&mut self, kid: &KidId, more: bool) -> Over<A> {
        let Some(desk) = self.desks.get_mut(kid) else { return Over::none() };
        desk.running = None;
        let begun = desk.begun;
        if more {
            desk.mark(Reason::More);
            return Over::none();
        }
        self.satisfy(|ticket| {
            if ticket.need.get(kid).is_some_and(|need| *need <= begun) {
                ticket.need.remove(kid);
            }
        })
    }

    /// The KID ended in the middle of a round that somebody asked it to leave: the work is still there.
    pub(crate) fn interrupted(&mut self, kid: &KidId) {
        let Some(desk) = self.desks.get_mut(kid) else { return };
        if let Some(reason) = desk.running.take() {
            desk.mark(reason);
        }
    }

    /// The KID failed: its work is still there, but the kicks that waited for it are over. A KID that fails while it
    /// has none gets a round if a `start` is work for it.
    pub(crate) fn failed(&mut self, kid: &KidId, start: bool) -> Over<A> {
        if let Some(desk) = self.desks.get_mut(kid) {
            let reason = desk.running.take().or(start.then_some(Reason::Start));
            reason.into_iter().for_each(|reason| desk.mark(reason));
        }
        self.over(|ticket| ticket.need.contains_key(kid))
    }

    /// Nobody gets the rounds they wait for.
    pub(crate) fn give_up(&mut self) -> Over<A> {
        self.over(|_| true)
    }

    /// Somebody waits for an answer.
    pub(crate) fn is_asked(&self) -> bool {
        self.tickets.iter().any(|ticket| ticket.asked)
    }

    /// The KID has no work.
    pub(crate) fn idle(&self, kid: &KidId) -> bool {
        self.desks.get(kid).is_none_or(|desk| desk.dirty.is_none() && desk.running.is_none())
    }

    /// No KID has work.
    pub(crate) fn all_idle(&self) -> bool {
        self.desks.keys().all(|kid| self.idle(kid))
    }

    /// So many KIDs are in a round.
    pub(crate) fn running(&self) -> usize {
        self.desks.values().filter(|desk| desk.running.is_some()).count()
    }

    fn satisfy(&mut self, change: impl Fn(&mut Ticket<A>)) -> Over<A> {
        self.tickets.iter_mut().for_each(change);
        self.over(|ticket| ticket.need.is_empty())
    }

    fn over(&mut self, which: impl Fn(&Ticket<A>) -> bool) -> Over<A> {
        let mut over = Over::none();
        self.split(which).into_iter().for_each(|ticket| over.push(ticket));
        over
    }

    fn split(&mut self, which: impl Fn(&Ticket<A>) -> bool) -> VecDeque<Ticket<A>> {
        let (out, rest) = std::mem::take(&mut self.tickets).into_iter().partition(which);
        self.tickets = rest;
        out
    }
}

impl Desk {
    fn mark(&mut self, reason: Reason) {
        self.dirty = Some(self.dirty.map_or(reason, |known| known.and(reason)));
    }
}
