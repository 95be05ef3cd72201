//! What is on the board, told to the control database: whoever wants to know how things are can read it there.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;
use tracing::debug;

use super::Mcp;
use crate::board::{ActorId, Doing, Snapshot};
use crate::ports::Shown;

/// The board is compared with what was told this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// That work begins, moves and ends is told this rarely: a busy KID does it hundreds of times a second.
const WORK_EVERY: Duration = Duration::from_secs(5);

/// What the control database has been told.
#[derive(Default)]
pub(super) struct Show {
    told: BTreeMap<ActorId, Told>,
    busy: bool,
}

struct Told {
    at: Instant,
    snapshot: Snapshot,
}

impl Show {
    /// The control database has forgotten everything.
    pub(super) fn forget(&mut self) {
        self.told.clear();
    }

    /// What there is to tell: states that are new, and what is gone.
    fn changes(&self, board: BTreeMap<ActorId, Snapshot>, now: Instant) -> Vec<Shown> {
        let gone = self.told.keys().filter(|id| !board.contains_key(*id));
        let mut changes: Vec<Shown> = gone.map(|id| Shown { id: id.clone(), snapshot: None }).collect();
        for (id, snapshot) in board {
            let is_news = match self.told.get(&id) {
                None => true,
                Some(told) => is_news(&told.snapshot, &snapshot, now.duration_since(told.at)),
            };
            if is_news {
                changes.push(Shown { id, snapshot: Some(snapshot) });
            }
        }
        changes
    }

    fn note(&mut self, changes: Vec<Shown>, at: Instant) {
        for Shown { id, snapshot } in changes {
            match snapshot {
                Some(snapshot) => drop(self.told.insert(id, Told { at, snapshot })),
                None => drop(self.told.remove(&id)),
            }
        }
    }
}

fn is_news(told: &Snapshot, now: &Snapshot, age: Duration) -> bool {
    let works = |snapshot: &Snapshot| matches!(snapshot.state, Doing::Running | Doing::Idle);
    let state = told.state != now.state && !(works(told) && works(now));
    let rest = (&told.fault, told.next_try) != (&now.fault, now.next_try) || told.aside() != now.aside();
    let work = told.state != now.state || told.step != now.step || told.connections != now.connections;
    state || rest || (work && age >= WORK_EVERY)
}

impl Mcp {
    /// Keeps the control database up to date, for as long as the MCP lives.
    pub(super) fn show_states(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(LOOK_EVERY, |mcp, ctx| {
            if mcp.lease.ready && mcp.ending.is_none() && !mcp.show.busy {
                mcp.show_changes(ctx);
            }
        });
    }

    fn show_changes(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let mut board = self.shared.board.all();
        for (db, connections) in self.shared.replicator.connections() {
            if let Some(snapshot) = board.get_mut(&ActorId::Db(db)) {
                snapshot.connections = Some(connections);
            }
        }
        let changes = self.show.changes(board, now);
        if changes.is_empty() {
            return;
        }
        self.show.busy = true;
        let (lease, told) = (self.lease.generation(), changes.clone());
        self.run(self.catalog.show(changes), ctx, move |mcp, result, _| {
            mcp.show.busy = false;
            match result {
                Ok(()) if mcp.lease.generation() == lease => mcp.show.note(told, now),
                Ok(()) => {}
                // Told again with the next look; that the control database is away, others say.
                Err(fault) => debug!(error = %fault, "cannot show how things are"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fault;

    fn snapshot(state: Doing) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.enter(state);
        snapshot
    }

    #[test]
    fn trouble_is_told_at_once_and_work_now_and_then() {
        let (idle, running) = (snapshot(Doing::Idle), snapshot(Doing::Running));
        let mut failed = snapshot(Doing::Stalled);
        failed.fail(Doing::Stalled, Some(Fault::transient("no route")), None);
        let soon = Duration::from_secs(1);
        assert!(is_news(&idle, &failed, soon) && is_news(&failed, &running, soon));
        assert!(is_news(&idle, &snapshot(Doing::Paused), soon));
        assert!(!is_news(&idle, &running, soon) && !is_news(&running, &idle, soon));
        assert!(is_news(&idle, &running, WORK_EVERY));
        assert!(!is_news(&idle, &snapshot(Doing::Idle), WORK_EVERY * 100), "that it goes on is no news");
        let mut later = failed.clone();
        later.fault = Some(Fault::transient("refused"));
        assert!(is_news(&failed, &later, soon), "another reason");
    }

    #[test]
    fn what_is_gone_is_told_once() {
        let (mut show, now) = (Show::default(), Instant::now());
        let board = BTreeMap::from([(ActorId::Mcp, snapshot(Doing::Active)), (ActorId::Vac, snapshot(Doing::Idle))]);
        let changes = show.changes(board, now);
        assert_eq!(changes.len(), 2);
        show.note(changes, now);
        let left = BTreeMap::from([(ActorId::Mcp, snapshot(Doing::Active))]);
        let changes = show.changes(left.clone(), now);
        assert!(matches!(&changes[..], [Shown { id: ActorId::Vac, snapshot: None }]), "{changes:?}");
        show.note(changes, now);
        assert!(show.changes(left.clone(), now).is_empty());
        show.forget();
        assert_eq!(show.changes(left, now).len(), 1);
    }
}
