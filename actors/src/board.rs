//! The board: the latest snapshot of every actor, written by actors and read by anybody, without asking an actor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use serde::Serialize;

use crate::model::{DbName, Fault, KidId, Quarantined, RoundReport, SyncName};
use crate::ports::Watch;

/// Whose snapshot it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorId {
    /// The master.
    Mcp,
    /// The purger.
    Vac,
    /// The controller of a sync.
    Ctl(SyncName),
    /// A worker.
    Kid(KidId),
    /// No actor: a database that syncs in use have. It is active or stalled.
    Db(DbName),
    /// No actor: a table that stays behind. It is quarantined for as long as it is here.
    Table(TableId),
}

/// A table that stays behind while the other tables of its KID go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TableId {
    /// Whose table it is.
    pub kid: KidId,
    /// Where it stays behind.
    pub db: DbName,
    /// `schema.table`
    pub relation: String,
}

impl ActorId {
    /// The KID that it is, or whose table it is.
    fn kid(&self) -> Option<&KidId> {
        match self {
            Self::Kid(kid) | Self::Table(TableId { kid, .. }) => Some(kid),
            Self::Mcp | Self::Vac | Self::Ctl(_) | Self::Db(_) => None,
        }
    }
}

/// What an actor does, in the words of the status command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// Up, with nothing more to say.
    Active,
    /// A round or a purge is under way.
    Running,
    /// Waits for work.
    Idle,
    /// An operator has paused it.
    Paused,
    /// Its last run is over, and it rests until the next kick or its timer (a sync without `stayalive`).
    Finished,
    /// Given up, and tried again only rarely or on request (a database: cannot be reached); see `fault` and `next_try`.
    Stalled,
    /// Stays behind until a difference is gone (a table); see `fault`.
    Quarantined,
    /// Not running: not started, stopped, or about to be started again (`next_try`).
    #[default]
    Down,
}

/// Running totals since the start of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Rounds (VAC: purges) that ended well.
    pub rounds: u64,
    /// Rounds (VAC: purges) that failed.
    pub failures: u64,
    /// Rows deleted on the target.
    pub deletes: u64,
    /// Rows written to the target.
    pub inserts: u64,
    /// Truncated tables.
    pub truncates: u64,
    /// Keys that more than one source had changed.
    pub conflicts: u64,
    /// Changes purged (VAC).
    pub purged: u64,
}

/// What is known of one actor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// State word.
    pub state: Doing,
    /// When it came into this state.
    pub since: Option<SystemTime>,
    /// Why it is stalled or down; the last failure otherwise, until a success.
    pub fault: Option<Fault>,
    /// When it is tried again.
    pub next_try: Option<SystemTime>,
    /// Totals.
    pub counters: Counters,
    /// The last round that ended well.
    pub last: Option<RoundReport>,
    /// When that was.
    pub last_at: Option<SystemTime>,
    /// The step that is running.
    pub step: String,
    /// Sessions that the daemon has open there (a database).
    pub connections: Option<usize>,
    /// Databases that it does without at present.
    pub away: BTreeMap<DbName, Away>,
}

impl Snapshot {
    /// Tables that stay behind while the others go on.
    #[must_use]
    pub fn aside(&self) -> Option<&[Quarantined]> {
        self.last.as_ref().map(|last| last.quarantined.as_slice()).filter(|tables| !tables.is_empty())
    }
}

/// A database that cannot be reached, while the work goes on without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Away {
    /// Since when.
    pub since: SystemTime,
    /// Why, as last seen.
    pub why: String,
}

impl Snapshot {
    /// Whether it is not to run: it is neither there nor about to be started again.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state == Doing::Down && self.next_try.is_none()
    }

    /// Notes a state; `since` moves only when it is another one.
    pub fn enter(&mut self, state: Doing) {
        if self.since.is_none() || self.state != state {
            self.since = Some(SystemTime::now());
        }
        self.state = state;
        self.next_try = None;
    }

    /// Notes a failure, after which the actor is in `state` until it is tried again `after`.
    pub fn fail(&mut self, state: Doing, fault: Option<Fault>, after: Option<Duration>) {
        self.enter(state);
        self.counters.failures += 1;
        self.fault = fault;
        self.next_try = after.and_then(|after| SystemTime::now().checked_add(after));
    }

    /// Notes a round that ended well.
    pub fn succeed(&mut self, report: &RoundReport) {
        self.counters.rounds += 1;
        self.counters.deletes += report.deletes;
        self.counters.inserts += report.inserts;
        self.counters.truncates += report.truncates;
        self.counters.conflicts += report.conflicts;
        self.fault = None;
        let (now, mut before) = (SystemTime::now(), std::mem::take(&mut self.away));
        let away = report.away.iter().map(|(db, why)| {
            let since = before.remove(db).map_or(now, |away| away.since);
            (db.clone(), Away { since, why: why.clone() })
        });
        self.away = away.collect();
        self.last = Some(report.clone());
        self.last_at = Some(now);
    }
}

#[derive(Default)]
struct Entry {
    snapshot: Snapshot,
    watch: Option<Watch>,
}

/// The latest snapshot of every actor.
#[derive(Default)]
pub struct Board {
    entries: DashMap<ActorId, Entry>,
}

impl Board {
    /// The snapshot of one actor.
    #[must_use]
    pub fn get(&self, id: &ActorId) -> Option<Snapshot> {
        self.entries.get(id).map(|entry| entry.view())
    }

    /// Whether it is stalled.
    pub(crate) fn is_stalled(&self, id: &ActorId) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.snapshot.state == Doing::Stalled)
    }

    /// All snapshots, in order.
    #[must_use]
    pub fn all(&self) -> BTreeMap<ActorId, Snapshot> {
        self.entries.iter().map(|entry| (entry.key().clone(), entry.view())).collect()
    }

    /// The syncs that an operator has paused.
    pub(crate) fn paused(&self) -> BTreeSet<SyncName> {
        let paused = self.entries.iter().filter(|entry| entry.snapshot.state == Doing::Paused);
        paused
            .filter_map(|entry| match entry.key() {
                ActorId::Ctl(sync) => Some(sync.clone()),
                _ => None,
            })
            .collect()
    }

    /// Changes the snapshot of one actor, which is created if need be.
    pub(crate) fn note(&self, id: &ActorId, change: impl FnOnce(&mut Snapshot)) {
        // Looked up first: the id is cloned only once in the life of an actor.
        if let Some(mut entry) = self.entries.get_mut(id) {
            return change(&mut entry.snapshot);
        }
        change(&mut self.entries.entry(id.clone()).or_default().snapshot);
    }

    /// Where readers find the step that is running.
    pub(crate) fn follow(&self, id: &ActorId, watch: &Watch) {
        self.entries.entry(id.clone()).or_default().watch = Some(watch.clone());
    }

    pub(crate) fn remove(&self, id: &ActorId) {
        self.entries.remove(id);
    }

    /// Removes a KID and its tables.
    pub(crate) fn remove_kid(&self, kid: &KidId) {
        self.entries.retain(|id, _| id.kid() != Some(kid));
    }

    /// Removes all KIDs of a sync, and their tables.
    pub(crate) fn remove_kids(&self, sync: &SyncName) {
        self.entries.retain(|id, _| id.kid().is_none_or(|kid| kid.sync != *sync));
    }

    /// Shows which tables of a KID stay behind; returns those that are new and those that are back.
    pub(crate) fn put_aside(&self, kid: &KidId, tables: &[Quarantined]) -> (Vec<TableId>, Vec<TableId>) {
        let of_kid = |id: &ActorId| matches!(id, ActorId::Table(table) if table.kid == *kid);
        let before: BTreeSet<TableId> = self
            .entries
            .iter()
            .filter_map(|entry| match entry.key() {
                ActorId::Table(table) if of_kid(entry.key()) => Some(table.clone()),
                _ => None,
            })
            .collect();
        let mut now = BTreeSet::new();
        for Quarantined { relation, db, since, why, remedy, .. } in tables {
            let table = TableId { kid: kid.clone(), db: db.clone(), relation: relation.clone() };
            let hint = format!("{remedy}; it comes back by itself; at once: bucardo kick {}", kid.sync);
            let fault = Fault::permanent(why).with_hint(hint).at(db.clone());
            self.note(&ActorId::Table(table.clone()), |snapshot| {
                snapshot.enter(Doing::Quarantined);
                snapshot.since = since.or(snapshot.since);
                snapshot.fault = Some(fault);
            });
            now.insert(table);
        }
        let back: Vec<TableId> = before.difference(&now).cloned().collect();
        back.iter().for_each(|table| self.remove(&ActorId::Table(table.clone())));
        (now.difference(&before).cloned().collect(), back)
    }
}

impl Entry {
    fn view(&self) -> Snapshot {
        let mut snapshot = self.snapshot.clone();
        if snapshot.state == Doing::Running
            && let Some(watch) = &self.watch
        {
            snapshot.step = watch.doing();
        }
        snapshot
    }
}
