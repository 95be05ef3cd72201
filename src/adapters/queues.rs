//! The queues of the sources: what they keep for targets that do not read it, held against their budgets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bucardo_actors::model::{DbName, SyncName};
use bucardo_actors::ports::Watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::budget::{Excess, judge};
use super::lease::application_name;
use crate::catalog::queue::{self, Seen};
use crate::catalog::{CatalogError, Control, Db, QueuePolicy, Role, SyncDetail};
use crate::pg::{Access, causes, connect};
use crate::source::given_up::{GivenUp, give_up, let_copy};
use crate::source::purge::Purged;

/// What lasts is said again so rarely.
const SAY_EVERY: Duration = Duration::from_secs(3600);

/// So long a target may take to catch up after its sync was paused, before it can be given up.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(3600);

/// A source, a sync, a reader.
type Place = (DbName, SyncName, DbName);

/// Looks after the queues.
pub(super) struct Queues {
    access: Access,
    /// When each queue over its budget was told of last.
    told: Mutex<HashMap<Place, Instant>>,
    /// When each was last over its budget while its sync was paused.
    excused: Mutex<HashMap<Place, Instant>>,
    /// What the catalog has; `None`: not known yet.
    noted: Mutex<Option<BTreeSet<Place>>>,
}

impl Queues {
    pub(super) fn new(access: Access) -> Self {
        Self { access, told: Mutex::default(), excused: Mutex::default(), noted: Mutex::default() }
    }

    /// Holds what was `seen` at the sources against their budgets, does what the policies say, and tells of it. A target
    /// whose sync is `paused` lags because a person wants it so: it is told of, and never given up.
    pub(super) async fn check(
        &self,
        syncs: &[Arc<SyncDetail>],
        seen: &BTreeMap<DbName, Purged>,
        paused: &BTreeSet<SyncName>,
        watch: &Watch,
    ) {
        let (mut over, mut places) = (Vec::new(), BTreeSet::new());
        for (name, purged) in seen {
            watch.moved(1);
            places.extend(purged.given_up.iter().map(|(sync, target, _)| (name.clone(), sync.clone(), target.clone())));
            let Some(db) = syncs.iter().find_map(|sync| sync.db(name)) else { continue };
            let waits = |(.., how): &(SyncName, DbName, GivenUp)| *how == GivenUp::Waits;
            if db.budget.policy == QueuePolicy::Copy && purged.given_up.iter().any(waits) {
                self.let_copy(db).await;
            }
            let Some(excess) = judge(&db.budget, &purged.waiting) else { continue };
            let place = (name.clone(), excess.sync.clone(), excess.target.clone());
            let done = match self.excuse(&place, paused) {
                Some(why) if db.budget.policy != QueuePolicy::Warn => Some(format!("it is not given up: {why}")),
                _ => self.act(syncs, db, &excess).await,
            };
            places.insert(place.clone());
            self.say(&place, &excess, done.as_deref());
            over.push((place, excess, done));
        }
        let within = |place: &Place| !places.contains(place) && seen.contains_key(&place.0);
        self.excused.lock().unwrap_or_else(PoisonError::into_inner).retain(|place, _| !within(place));
        self.told.lock().unwrap_or_else(PoisonError::into_inner).retain(|place, _| {
            let stays = !within(place);
            if !stays {
                let (db, sync, target) = place;
                info!(%db, %sync, %target, "the queue of the database is within its budget again");
            }
            stays
        });
        if let Err(error) = self.note(seen, &over, &places).await {
            warn!(error = causes(&error), hint = error.hint(), "cannot note which queues are over their budget");
        }
    }

    /// Why a target may lag: a person has paused its sync, or it had no time yet to catch up after that.
    fn excuse(&self, place: &Place, paused: &BTreeSet<SyncName>) -> Option<String> {
        let mut excused = self.excused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.contains(&place.1) {
            excused.insert(place.clone(), Instant::now());
            return Some(format!("its sync is paused (bucardo resume {})", place.1));
        }
        let last = excused.get(place)?;
        (last.elapsed() < CATCHES_UP_WITHIN).then(|| "its sync was paused until a while ago".to_owned())
    }

    /// Does what the policy says; returns words for it.
    async fn act(&self, syncs: &[Arc<SyncDetail>], db: &Db, excess: &Excess) -> Option<String> {
        let how = match db.budget.policy {
            QueuePolicy::Warn => return None,
            QueuePolicy::Stall => GivenUp::Waits,
            QueuePolicy::Copy => GivenUp::Copies,
        };
        let sync = syncs.iter().find(|sync| sync.name == excess.sync);
        if sync.is_none_or(|sync| sync.is_merging() || sync.role(&excess.target) != Some(Role::Target)) {
            return Some("it is not given up: its sync has several sources".to_owned());
        }
        let reader = (&excess.sync, &excess.target);
        let given_up = match Box::pin(connect(&db.access, &application_name("VAC"))).await {
            Ok(source) => give_up(&source, reader, how).await.map_err(|error| causes(&error)),
            Err(error) => Err(causes(&error)),
        };
        match given_up {
            Ok(true) => Some(how.words().to_owned()),
            Ok(false) => Some("it is not given up: it is only about to begin, or to be copied".to_owned()),
            Err(error) => Some(format!("it could not be given up: {error}")),
        }
    }

    async fn let_copy(&self, db: &Db) {
        let copies = match Box::pin(connect(&db.access, &application_name("VAC"))).await {
            Ok(source) => let_copy(&source).await.map_err(|error| causes(&error)),
            Err(error) => Err(causes(&error)),
        };
        match copies {
            Ok(targets) => info!(db = %db.name, targets, "targets that were given up are copied when they are back"),
            Err(error) => warn!(db = %db.name, error, "targets that were given up still wait for their copies"),
        }
    }

    fn say(&self, place: &Place, excess: &Excess, done: Option<&str>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.get(place);
        if done.is_some_and(|done| done.starts_with("given up")) || last.is_none_or(|last| last.elapsed() >= SAY_EVERY)
        {
            let (db, sync, target) = place;
            let Excess { changes, bytes, oldest, why, .. } = excess;
            let hint = "see to the target, or change its budget (queue_rows_max, queue_mb_max, queue_age_max)";
            warn!(
                %db, %sync, %target, changes, bytes, %oldest, why, done, hint,
                "the database keeps more changes for the target than its budget allows"
            );
            told.insert(place.clone(), Instant::now());
        }
    }

    /// Writes to the catalog what `status` shows. Connects only when there is something to write.
    async fn note(
        &self,
        seen: &BTreeMap<DbName, Purged>,
        over: &[(Place, Excess, Option<String>)],
        places: &BTreeSet<Place>,
    ) -> Result<(), CatalogError> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gone = |place: &&Place| seen.contains_key(&place.0) && !places.contains(*place);
        if over.is_empty() && noted.as_ref().is_some_and(|noted| !noted.iter().any(|place| gone(&place))) {
            return Ok(());
        }
        let control = Box::pin(Control::open(&self.access, &application_name("VAC"))).await?;
        for ((db, sync, target), excess, done) in over {
            let done = done.as_deref();
            let place = (db.as_str(), sync.as_str(), target.as_str());
            let size = (excess.changes, excess.bytes);
            let seen = Seen { place, size, oldest: excess.oldest.into(), why: &excess.why, done };
            queue::note(control.client(), seen).await?;
        }
        let dbs: Vec<DbName> = seen.keys().cloned().collect();
        let kept: Vec<(&str, &str, &str)> =
            places.iter().map(|(db, sync, target)| (db.as_str(), sync.as_str(), target.as_str())).collect();
        queue::retain(control.client(), &dbs, &kept).await?;
        let mut now = noted.take().unwrap_or_default();
        now.retain(|place| !seen.contains_key(&place.0));
        now.extend(places.iter().cloned());
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }
}
