//! What runs the custom codes of all syncs, and those that run around the runs of a sync.

use std::sync::Arc;

use bucardo_actors::model::{Fault, RoundReport, SyncName};
use bucardo_actors::ports::{Go, Hooks, Point};
use dashmap::DashMap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::SyncMap;
use crate::catalog::SyncDetail;
use crate::custom::input;
use crate::custom::{CodeError, Codes, Forms, Hook, Hosts, Post};
use crate::engine::hooks::{counts, outside};

/// What custom codes need from the daemon.
#[derive(Clone)]
pub struct Workshop {
    hosts: Hosts,
    post: Option<Post>,
}

impl Workshop {
    /// Codes are run by `hosts`, and their mails go to `post`.
    #[must_use]
    pub fn new(hosts: Hosts, post: Option<Post>) -> Self {
        Self { hosts, post }
    }

    /// The codes of a sync, for one KID or CTL; `None`: it has none.
    pub(super) fn codes(&self, sync: &Arc<SyncDetail>) -> Option<Codes> {
        Some(Codes::of(sync, Arc::clone(&self.hosts))?.with_post(self.post.clone()))
    }
}

/// The codes around the runs of each sync, kept from one run to the next.
type Kept = Arc<DashMap<SyncName, Arc<Mutex<Codes>>>>;

/// Runs codes around the runs of syncs.
pub struct SyncHooks {
    syncs: SyncMap,
    workshop: Workshop,
    kept: Kept,
}

impl SyncHooks {
    /// Runs those of these syncs.
    #[must_use]
    pub fn new(syncs: SyncMap, workshop: Workshop) -> Self {
        Self { syncs, workshop, kept: Kept::default() }
    }

    /// Ends what runs codes that are not those of today.
    fn forget(&self) {
        let is_today =
            |name: &SyncName, codes: &Codes| self.syncs.get(name).is_some_and(|sync| Arc::ptr_eq(&sync, codes.sync()));
        self.kept.retain(|name, codes| codes.try_lock().map_or(true, |codes| is_today(name, &codes)));
    }

    /// The codes of a sync as they are now.
    fn codes(&self, sync: &Arc<SyncDetail>) -> Option<Arc<Mutex<Codes>>> {
        let is_current = |codes: &Arc<Mutex<Codes>>| {
            let codes = codes.try_lock();
            codes.is_ok_and(|codes| Arc::ptr_eq(codes.sync(), sync))
        };
        if let Some(kept) = self.kept.get(&sync.name).map(|kept| Arc::clone(&kept)).filter(is_current) {
            return Some(kept);
        }
        let codes = Arc::new(Mutex::new(self.workshop.codes(sync)?));
        self.kept.insert(sync.name.clone(), Arc::clone(&codes));
        Some(codes)
    }
}

impl Hooks for SyncHooks {
    fn run(&self, sync: &SyncName, point: Point, brought: RoundReport) -> BoxFuture<'static, Result<Go, Fault>> {
        self.forget();
        let sync = self.syncs.get(sync);
        let codes = sync.as_ref().and_then(|sync| self.codes(sync));
        async move {
            let (Some(sync), Some(codes)) = (sync, codes) else { return Ok(Go::On) };
            let mut codes = codes.lock().await;
            let ended = run(&sync, &mut codes, point, &brought).await;
            ended.map_err(|error| fault(&error, &sync))
        }
        .boxed()
    }
}

async fn run(sync: &SyncDetail, codes: &mut Codes, point: Point, brought: &RoundReport) -> Result<Go, CodeError> {
    let hook = match point {
        Point::BeforeSync => Hook::BeforeSync,
        Point::AfterSync => Hook::AfterSync,
    };
    let source = sync.sources().next().map(|db| &db.name);
    let base = input::base(sync, source, None);
    let outcome = outside(codes, hook, None, (&base, &Forms::default()), &counts(sync, brought)).await?;
    if !outcome.endsync || point == Point::AfterSync {
        return Ok(Go::On);
    }
    tokio::time::sleep(sync.endsync_sleep).await;
    Ok(Go::Leave)
}

fn fault(error: &CodeError, sync: &SyncDetail) -> Fault {
    let fault = Fault { failure: error.failure(), ..Fault::transient(error.to_string()) };
    fault.with_hint(error.hint(sync.name.as_str()))
}
