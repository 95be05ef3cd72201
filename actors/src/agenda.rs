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
}

#[derive(Debug, Default)]
struct Desk {
    dirty: Option<Reason>,
    running: Option<Reason>,
    /// Number of the last round that began.
    begun: u64,
}

/// A kick: answered when every KID has ended a round with (at least) this number.
#[derive(Debug)]
struct Ticket<A> {
    need: BTreeMap<KidId, u64>,
    asked: bool,
    answer: A,
}

/// Kicks that have got what they asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Served<A> {
    /// Their answers.
    pub(crate) answers: Vec<A>,
    /// Somebody waits for one of them.
    pub(crate) asked: bool,
}

impl<A> Served<A> {
    pub(crate) fn none() -> Self {
        Self { answers: Vec::new(), asked: false }
    }
}

impl<A> Agenda<A> {
    pub(crate) fn new() -> Self {
        Self { desks: BTreeMap::new(), tickets: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, kid: KidId) {
        self.desks.entry(kid).or_default();
    }

    /// Forgets a KID; returns the answers of kicks that waited only for it.
    pub(crate) fn remove(&mut self, kid: &KidId) -> Served<A> {
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

    /// There is work for all KIDs. The answer waits for those that are `able` to run; it comes back when there are
    /// none, or when an earlier kick that is served by the same rounds answers for both.
    pub(crate) fn kick(&mut self, reason: Reason, able: impl Fn(&KidId) -> bool, answer: A) -> Option<A> {
        let mut need = BTreeMap::new();
        for (kid, desk) in &mut self.desks {
            desk.mark(reason);
            if able(kid) {
                need.insert(kid.clone(), desk.begun + 1);
            }
        }
        if need.is_empty() {
            return Some(answer);
        }
        let asked = reason == Reason::Request;
        let full = self.tickets.len() >= TICKETS_MAX;
        match self.tickets.back_mut() {
            Some(last) if full || last.need == need => {
                last.need.extend(need);
                last.asked |= asked;
                Some(answer)
            }
            _ => {
                self.tickets.push_back(Ticket { need, asked, answer });
                None
            }
        }
    }

    /// KIDs that have work and do none.
    pub(crate) fn due(&self) -> Vec<KidId> {
        self.desks
            .iter()
            .filter(|(_, desk)| desk.dirty.is_some() && desk.running.is_none())
            .map(|(kid, _)| kid.clone())
            .collect()
    }

    /// A round begins; `None` if the KID has no work or is at work already.
    pub(crate) fn begin(&mut self, kid: &KidId) -> Option<Reason> {
        let desk = self.desks.get_mut(kid).filter(|desk| desk.running.is_none())?;
        desk.running = desk.dirty.take();
        desk.begun += u64::from(desk.running.is_some());
        desk.running
    }

    /// The running round ended well, leaving `more` behind; returns the answers of kicks that are served by it.
    pub(crate) fn ended(&mut self, kid: &KidId, more: bool) -> Served<A> {
        let Some(desk) = self.desks.get_mut(kid) else { return Served::none() };
        desk.running = None;
        let begun = desk.begun;
        if more {
            desk.mark(Reason::More);
            self.postpone(kid, begun);
            return Served::none();
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
            let begun = desk.begun;
            self.postpone(kid, begun);
        }
    }

    /// The KID failed: its work is still there. Returns the answers of all kicks that waited for it.
    pub(crate) fn failed(&mut self, kid: &KidId) -> Vec<A> {
        if let Some(desk) = self.desks.get_mut(kid) {
            let reason = desk.running.take().unwrap_or(Reason::Start);
            desk.mark(reason);
        }
        let tickets = std::mem::take(&mut self.tickets);
        let (hit, rest): (VecDeque<_>, VecDeque<_>) =
            tickets.into_iter().partition(|ticket| ticket.need.contains_key(kid));
        self.tickets = rest;
        hit.into_iter().map(|ticket| ticket.answer).collect()
    }

    /// Nobody gets the rounds they wait for.
    pub(crate) fn give_up(&mut self) -> Vec<A> {
        self.tickets.drain(..).map(|ticket| ticket.answer).collect()
    }

    /// The KID has no work.
    pub(crate) fn idle(&self, kid: &KidId) -> bool {
        self.desks.get(kid).is_none_or(|desk| desk.dirty.is_none() && desk.running.is_none())
    }

    /// Some KID is in a round.
    pub(crate) fn running(&self) -> bool {
        self.desks.values().any(|desk| desk.running.is_some())
    }

    fn postpone(&mut self, kid: &KidId, begun: u64) {
        for ticket in &mut self.tickets {
            if let Some(need) = ticket.need.get_mut(kid) {
                *need = (*need).max(begun + 1);
            }
        }
    }

    fn satisfy(&mut self, change: impl Fn(&mut Ticket<A>)) -> Served<A> {
        self.tickets.iter_mut().for_each(change);
        let mut served = Served::none();
        for ticket in std::mem::take(&mut self.tickets) {
            if ticket.need.is_empty() {
                served.asked |= ticket.asked;
                served.answers.push(ticket.answer);
            } else {
                self.tickets.push_back(ticket);
            }
        }
        served
    }
}

impl Desk {
    /// A request stays a request, whatever comes after it.
    fn mark(&mut self, reason: Reason) {
        if self.dirty != Some(Reason::Request) {
            self.dirty = Some(reason);
        }
    }
}
