//! The control database as a port: lease, syncs, settings, run history, notices.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bucardo_actors::board::ActorId;
use bucardo_actors::model::{DbName, Fault, Intent, KidId, RoundReport, SyncName, SyncPlan, Work};
use bucardo_actors::ports::{Catalog, Notice, OpenRun, RunRecord, Shown};
use bucardo_actors::{plan, policy};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex as AsyncMutex;
use tracing::{debug, info, warn};

use super::codes::Compiler;
use super::copies::{Copies, all_have_copied};
use super::lease::{self, SessionId};
use super::listener::{Listeners, Source};
use super::{Desks, Numbers, SourcePurger, SyncMap, channels, plans};
use crate::catalog::runs::{self, Between, Counts, RunEnd};
use crate::catalog::{Control, Role, SyncDetail, load_syncs, settings, states, syncs, trouble};
use crate::config::{ClassicSetting, Layers};
use crate::custom;
use crate::daemon::Voices;
use crate::pg::{Access, SqlFile, cause, causes, classify};

const PATIENCE: SqlFile = SqlFile::new(include_str!("../../sql/daemon/patience.sql"));
const NOTIFY: SqlFile = SqlFile::new(include_str!("../../sql/daemon/notify.sql"));

/// The control database. One session holds the lease and serves all calls, one after the other.
pub struct ControlDatabase {
    inner: Arc<Inner>,
}

struct Inner {
    access: Access,
    layers: Layers,
    voices: Voices,
    syncs: SyncMap,
    listeners: Arc<Listeners>,
    purger: Arc<SourcePurger>,
    session: AsyncMutex<Session>,
    lost: Mutex<Option<BoxFuture<'static, ()>>>,
    copies: Mutex<Copies>,
    /// Settings without effect that the log knows of.
    told: Mutex<BTreeSet<String>>,
    numbers: Numbers,
    desks: Desks,
    compiler: Compiler,
    /// The sessions that `dbrun` has.
    noted: Mutex<HashMap<KidId, Vec<runs::Session>>>,
}

#[derive(Default)]
struct Session {
    control: Option<Control>,
    id: Option<SessionId>,
}

impl Session {
    fn control(&mut self) -> Result<&mut Control, Fault> {
        self.control.as_mut().ok_or_else(|| Fault::transient("the control database is not connected"))
    }
}

impl ControlDatabase {
    /// A control database that is connected to when the lease is taken. `layers` are the settings without those
    /// of the control database itself; `voices` and `purger` hear of theirs.
    #[must_use]
    pub fn new(
        access: Access,
        layers: Layers,
        voices: Voices,
        syncs: SyncMap,
        listeners: Arc<Listeners>,
        purger: Arc<SourcePurger>,
        (numbers, desks): (Numbers, Desks),
    ) -> Self {
        let (session, lost, copies) = (AsyncMutex::default(), Mutex::default(), Mutex::default());
        let (told, noted) = (Mutex::default(), Mutex::default());
        let inner = Inner {
            access,
            layers,
            voices,
            syncs,
            listeners,
            purger,
            numbers,
            desks,
            compiler: Compiler::new(custom::open()),
            session,
            lost,
            copies,
            told,
            noted,
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    async fn lease(&self) -> Result<(), Fault> {
        let mut session = self.session.lock().await;
        session.control = None;
        let (control, id) = Box::pin(lease::take(&self.access, session.id.as_ref())).await?;
        if session.id.is_none() {
            trouble::clear(control.client()).await?;
            self.layers_with(&settings::load(control.client()).await?);
        }
        states::clear(control.client()).await?;
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(control.closed().boxed());
        self.listeners.set_own_backend(control.backend_pid());
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let closed = runs::close_open(control.client()).await?;
        if closed > 0 {
            info!(closed, "closed runs that a former daemon had left open");
        }
        *session = Session { control: Some(control), id: Some(id) };
        Ok(())
    }

    async fn load(&self) -> Result<Vec<SyncPlan>, Fault> {
        let mut session = self.session.lock().await;
        let details = load_syncs(session.control()?.client()).await?;
        let details: Vec<Arc<SyncDetail>> = details.into_iter().map(Arc::new).collect();
        let found = settings::load(session.control()?.client()).await?;
        let mut plans: Vec<SyncPlan> = details.iter().map(|sync| self.with_own(plans::plan(sync), &found)).collect();
        let active = details.iter().filter(|sync| sync.status != "inactive" && !sync.codes.is_empty());
        let mut broken = self.compiler.problems(active.map(|sync| &**sync)).await;
        for plan in plans.iter_mut().filter(|plan| plan.problem.is_none()) {
            plan.problem = broken.remove(&plan.name);
        }
        let running = || plans.iter().filter(|plan| plan.intent != Intent::Inactive);
        let kids: Vec<KidId> = running().filter_map(|plan| plan::kids(plan).ok()).flatten().collect();
        let sources_of = |plan: &SyncPlan| {
            plan.sources.iter().map(|db| (plan.name.clone(), db.clone())).collect::<Vec<(SyncName, DbName)>>()
        };
        let merged: Vec<(SyncName, DbName)> = running().flat_map(sources_of).collect();
        let ctls = running().map(|plan| ActorId::Ctl(plan.name.clone()));
        for id in ctls.chain(kids.iter().cloned().map(ActorId::Kid)) {
            self.numbers.of(&id);
        }
        trouble::retain(session.control()?.client(), &kids, &merged).await?;
        drop(session);
        let names: BTreeSet<SyncName> = details.iter().map(|sync| sync.name.clone()).collect();
        let present = details.iter().map(|sync| &**sync);
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).load(present, SystemTime::now());
        self.listeners.listen_to_sources(sources(&details, &plans));
        let dbs: BTreeSet<DbName> = running().flat_map(|plan| plan.dbs().cloned()).collect();
        self.syncs.replace(details);
        self.listeners.listen_to_control(&self.access, &names, &dbs).await;
        Ok(plans)
    }

    async fn settings(&self) -> Result<policy::Settings, Fault> {
        let found = settings::load(self.session.lock().await.control()?.client()).await?;
        let settings = self.layers_with(&found).load().map_err(|error| Fault::permanent(causes(&error)))?;
        self.voices.change(&settings);
        self.purger.change(&settings);
        self.desks.change(&settings);
        Ok(policy::Settings { supervision: settings.supervision, schedule: settings.schedule })
    }

    /// A plan with what its sync has set for itself. What makes no sense keeps only that sync from running.
    fn with_own(&self, plan: SyncPlan, found: &settings::Settings) -> SyncPlan {
        let own: Vec<ClassicSetting> =
            found.own(plan.name.as_str()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if own.is_empty() {
            return plan;
        }
        let catalog = changed_settings(found).into_iter().chain(own).collect();
        match (Layers { catalog, ..self.layers.clone() }).load() {
            Ok(settings) => {
                let own = policy::Settings { supervision: settings.supervision, schedule: settings.schedule };
                SyncPlan { settings: Some(Box::new(own)), ..plan }
            }
            Err(error) => {
                let hint = format!(
                    "see: SELECT * FROM bucardo.bucardo_config WHERE item = '{0}'; then run: bucardo reload sync {0}",
                    plan.name
                );
                let fault = Fault::permanent(format!("{}, for this sync", causes(&error))).with_hint(hint);
                SyncPlan { problem: plan.problem.clone().or(Some(fault)), ..plan }
            }
        }
    }

    /// All layers. Of settings that have no effect the log tells once.
    fn layers_with(&self, found: &settings::Settings) -> Layers {
        let layers = Layers { catalog: changed_settings(found), ..self.layers.clone() };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, why) in layers.without_effect() {
            if told.insert(name.to_lowercase()) {
                warn!("setting \"{name}\" has no effect: {why}");
            }
        }
        layers
    }

    async fn record(&self, run: RunRecord) -> Result<(), Fault> {
        self.write(&run).await?;
        if run.outcome.is_ok() {
            self.note_copy(&run.kid, run.started).await?;
        }
        Ok(())
    }

    async fn write(&self, run: &RunRecord) -> Result<(), Fault> {
        let mut session = self.session.lock().await;
        let control = session.control()?;
        let transaction = control.client_mut().transaction().await.map_err(sql_fault("begin"))?;
        transaction.batch_execute(PATIENCE.text()).await.map_err(sql_fault("begin"))?;
        let (sync, times) = (run.kid.sync.as_str(), (run.started, run.ended));
        let between = between(&run.kid);
        match &run.outcome {
            Ok(report) if report.is_empty() => {
                runs::mark_empty(&transaction, (sync, between), run.started, run.ended).await?;
            }
            Ok(report) => {
                let (deletes, inserts, conflicts) = (report.deletes, report.inserts, report.conflicts);
                debug!(target: "bucardo::adapters::catalog::kid", kid = %run.kid, "Totals: deletes={deletes} inserts={inserts} conflicts={conflicts}");
                runs::record(&transaction, (sync, between), times, counts(report), RunEnd::Good).await?;
                if !report.goats.is_empty() {
                    let oldest = report.lag.and_then(|lag| run.ended.checked_sub(lag));
                    let target = between.target.unwrap_or_default();
                    runs::count_goats(&transaction, sync, target, &report.goats, (oldest, run.ended)).await?;
                }
            }
            Err(fault) => {
                let why = format!("{} ({})", fault.message, run.kid);
                runs::record(&transaction, (sync, between), times, Counts::default(), RunEnd::Bad(&why)).await?;
            }
        }
        match &run.outcome {
            Ok(report) => {
                if report.quarantined.is_empty() {
                    trouble::over(&transaction, &run.kid).await?;
                } else {
                    trouble::aside(&transaction, &run.kid, run.ended, &report.quarantine_told().join("; ")).await?;
                }
                if run.kid.work == Work::Merge {
                    trouble::note_away(&transaction, &run.kid.sync, run.ended, &report.away).await?;
                }
            }
            Err(fault) => trouble::note(&transaction, &run.kid, run.ended, run.next_try, fault).await?,
        }
        self.note_sessions(&transaction, &run.kid, Vec::new()).await?;
        transaction.commit().await.map_err(sql_fault("commit the run history"))
    }

    async fn show_run(&self, run: OpenRun) -> Result<(), Fault> {
        let mut session = self.session.lock().await;
        let whose = (run.kid.sync.as_str(), between(&run.kid));
        let transaction = session.control()?.client_mut().transaction().await.map_err(sql_fault("begin"))?;
        transaction.batch_execute(PATIENCE.text()).await.map_err(sql_fault("begin"))?;
        match &run.doing {
            Some(doing) => runs::show(&transaction, whose, run.started, counts(&run.so_far), doing).await?,
            None => runs::break_off(&transaction, whose).await?,
        }
        let sessions = if run.doing.is_some() { self.desks.sessions(&run.kid) } else { Vec::new() };
        self.note_sessions(&transaction, &run.kid, sessions).await?;
        transaction.commit().await.map_err(sql_fault("commit the run history"))
    }

    /// `dbrun` has the sessions of the runs that the run history shows as going on.
    async fn note_sessions(
        &self,
        client: &impl tokio_postgres::GenericClient,
        kid: &KidId,
        now: Vec<runs::Session>,
    ) -> Result<(), Fault> {
        let known = || self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known().get(kid).cloned().unwrap_or_default();
        if before != now {
            runs::note_sessions(client, kid.sync.as_str(), &before, &now).await?;
            if now.is_empty() {
                known().remove(kid)
            } else {
                known().insert(kid.clone(), now)
            };
        }
        Ok(())
    }

    /// Marks a request for a whole copy as done once every target has answered it.
    async fn note_copy(&self, kid: &KidId, started: SystemTime) -> Result<(), Fault> {
        let answered = self.copies.lock().unwrap_or_else(PoisonError::into_inner).round_went_well(kid, started);
        let (Some(request), Some(sync)) = (answered, self.syncs.get(&kid.sync)) else { return Ok(()) };
        match all_have_copied(&sync, request).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(cause) => {
                debug!(sync = %kid.sync, error = cause, "cannot see yet whether all targets have copied");
                return Ok(());
            }
        }
        let reset = {
            let mut session = self.session.lock().await;
            syncs::reset_onetimecopy(session.control()?.client(), kid.sync.as_str(), request).await?
        };
        if reset {
            info!(sync = %kid.sync, "every target has copied, onetimecopy is 0 again");
        }
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).close(&kid.sync, request);
        Ok(())
    }

    async fn set_active(&self, sync: SyncName, active: bool) -> Result<(), Fault> {
        let mut session = self.session.lock().await;
        if syncs::set_active(session.control()?.client(), sync.as_str(), active).await? {
            Ok(())
        } else {
            Err(Fault::permanent(format!("there is no sync named \"{sync}\"")))
        }
    }

    /// What outsiders call an actor by.
    fn number(&self, id: &ActorId) -> Option<i32> {
        match id {
            ActorId::Mcp | ActorId::Vac => i32::try_from(std::process::id()).ok(),
            ActorId::Ctl(_) | ActorId::Kid(_) => Some(self.numbers.of(id)),
            ActorId::Db(_) | ActorId::Table(_) => None,
        }
    }

    async fn show(&self, changes: Vec<Shown>) -> Result<(), Fault> {
        let mut session = self.session.lock().await;
        let transaction = session.control()?.client_mut().transaction().await.map_err(sql_fault("begin"))?;
        states::show(&transaction, &changes, |id| self.number(id)).await?;
        transaction.commit().await.map_err(sql_fault("commit how things are"))
    }

    async fn notify(&self, notice: Notice) -> Result<(), Fault> {
        if notice == Notice::Stopped {
            states::clear(self.session.lock().await.control()?.client()).await?;
        }
        let mut session = self.session.lock().await;
        let control = session.control()?;
        for said in channels::notices(&notice, |id| self.numbers.of(id)) {
            let told = control.query_one(NOTIFY.text(), &[&said.own, &said.channel, &said.payload]).await;
            told.map_err(sql_fault("notify"))?;
        }
        Ok(())
    }
}

/// The settings of the control database that somebody has changed: those that only repeat what was shipped do not
/// hide the settings of the file.
#[must_use]
pub fn changed_settings(found: &settings::Settings) -> Vec<ClassicSetting> {
    let changed = found.iter().filter(|(_, setting)| setting.value != setting.default);
    changed.map(|(name, setting)| (name.to_owned(), setting.value.clone())).collect()
}

/// Between which databases a KID works.
fn between(kid: &KidId) -> Between<'_> {
    match &kid.work {
        Work::Merge => Between::default(),
        Work::Pair { source, target } => Between { source: Some(source.as_str()), target: Some(target.as_str()) },
        Work::Follow { target } => Between { source: None, target: Some(target.as_str()) },
    }
}

fn counts(report: &RoundReport) -> Counts {
    let RoundReport { truncates, deletes, inserts, conflicts, .. } = *report;
    Counts { truncates, deletes, inserts, conflicts }
}

/// The active sources of syncs that run and hear of changes, and which syncs read there.
fn sources(details: &[Arc<SyncDetail>], plans: &[SyncPlan]) -> BTreeMap<DbName, Source> {
    let mut sources: BTreeMap<DbName, Source> = BTreeMap::new();
    let runs = |plan: &SyncPlan| plan.problem.is_none() && plan.intent != Intent::Inactive;
    for (sync, _) in details.iter().zip(plans).filter(|(sync, plan)| runs(plan) && !sync.is_fullcopy()) {
        for db in sync.dbs(Role::Source).filter(|db| db.active) {
            let fresh = || Source { access: db.access.clone(), syncs: BTreeSet::new() };
            sources.entry(db.name.clone()).or_insert_with(fresh).syncs.insert(sync.name.clone());
        }
    }
    sources
}

fn sql_fault(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> Fault {
    move |error| Fault {
        failure: classify(&error),
        cause: cause(&error),
        message: format!("cannot {doing} on the control database: {}", causes(&error)),
        hint: None,
        db: None,
    }
}

impl Catalog for ControlDatabase {
    fn lease(&self) -> BoxFuture<'static, Result<(), Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.lease().await }.boxed()
    }

    fn lease_lost(&self) -> BoxFuture<'static, Fault> {
        let closed = self.inner.lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            if let Some(closed) = closed {
                closed.await;
            }
            Fault::transient("the session on the control database was lost")
        }
        .boxed()
    }

    fn load(&self) -> BoxFuture<'static, Result<Vec<SyncPlan>, Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.load().await }.boxed()
    }

    fn settings(&self) -> BoxFuture<'static, Result<policy::Settings, Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.settings().await }.boxed()
    }

    fn record(&self, run: RunRecord) -> BoxFuture<'static, Result<(), Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.record(run).await }.boxed()
    }

    fn show_run(&self, run: OpenRun) -> BoxFuture<'static, Result<(), Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.show_run(run).await }.boxed()
    }

    fn set_active(&self, sync: SyncName, active: bool) -> BoxFuture<'static, Result<(), Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.set_active(sync, active).await }.boxed()
    }

    fn show(&self, changes: Vec<Shown>) -> BoxFuture<'static, Result<(), Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.show(changes).await }.boxed()
    }

    fn notify(&self, notice: Notice) -> BoxFuture<'static, Result<(), Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.notify(notice).await }.boxed()
    }
}
