//! A sync without daemon and control database: a source, its targets, and rounds that can fail where they are told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bucardo::catalog::conflicts::{Conflict, ConflictStore};
use bucardo::catalog::{Budget, CopyLimits, Db, DeleteMethod, Goat, GoatKind, Member, Role, SyncDetail};
use bucardo::custom::{Codes, Hosts, Post};
use bucardo::engine::merge::MergeSession;
use bucardo::engine::{CopySession, PairSession};
use bucardo::pg::Access;
use bucardo::source::{ValidateError, Validated, validate_sync};
use bucardo_actors::model::{Fault, Pair, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, StepHook, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::database::Database;
use super::{assert_same, other_server, server};

/// What a failing step does.
#[derive(Clone, Copy)]
pub(crate) enum Accident {
    Fault,
    Panic,
}

/// Databases of one sync.
pub(crate) struct SyncLab {
    pub(crate) sync: SyncDetail,
    databases: HashMap<String, Database>,
    sessions: HashMap<String, PairSession>,
    merging: Option<MergeSession>,
    /// What runs custom codes.
    pub(crate) hosts: Option<Hosts>,
    /// Who sends the mails of custom codes.
    pub(crate) post: Option<Post>,
    /// What merges have told.
    pub(crate) conflicts: Told,
}

/// Keeps conflicts in memory, each once.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<BTreeMap<String, Conflict>>>);

impl Told {
    pub(crate) fn all(&self) -> Vec<Conflict> {
        self.0.lock().unwrap().values().cloned().collect()
    }
}

impl ConflictStore for Told {
    fn store<'a>(&'a self, conflicts: &'a [Conflict]) -> BoxFuture<'a, Result<(), String>> {
        let mut told = self.0.lock().unwrap();
        told.extend(conflicts.iter().map(|conflict| (conflict.id.clone(), conflict.clone())));
        async { Ok(()) }.boxed()
    }
}

impl SyncLab {
    /// Makes the databases `a` (source) and `targets`, runs `ddl` in each, and validates the sync.
    ///
    /// `goats`: `schema.table:key,key` for a table, `schema.sequence` for a sequence; the schema may be left out.
    pub(crate) async fn start(targets: &[&str], ddl: &str, goats: &[&str]) -> Self {
        let mut lab = Self::empty(targets, ddl, goats).await;
        lab.validate().await.unwrap();
        lab
    }

    /// Puts a database of another encoding in the place of `name`, before the sync is validated.
    pub(crate) async fn encode(&mut self, name: &str, encoding: &str, ddl: &str) {
        let database = Database::encoded(name, encoding).await;
        database.run(ddl).await;
        let place = self.sync.members.iter().position(|member| member.db.name.as_str() == name).unwrap();
        self.sync.members[place] = member(name, &database.conninfo(), self.sync.members[place].role);
        self.databases.insert(name.to_owned(), database);
    }

    /// The same, not validated.
    pub(crate) async fn empty(targets: &[&str], ddl: &str, goats: &[&str]) -> Self {
        let mut databases = HashMap::new();
        let mut members = Vec::new();
        for name in ["a"].iter().chain(targets) {
            let database = Database::create(if *name == "a" { server() } else { other_server() }, name).await;
            database.run(ddl).await;
            members.push(member(name, &database.conninfo(), if *name == "a" { Role::Source } else { Role::Target }));
            databases.insert((*name).to_owned(), database);
        }
        let mut sync = empty_sync("s");
        sync.members = members;
        sync.goats = goats.iter().zip(1..).map(|(text, id)| goat(id, text)).collect();
        let (sessions, conflicts) = (HashMap::new(), Told::default());
        Self { sync, databases, sessions, merging: None, hosts: None, post: None, conflicts }
    }

    /// Makes the sources `sources` (the first is `a`) and `targets`, runs `ddl` in each, and validates the sync.
    pub(crate) async fn masters(sources: &[&str], targets: &[&str], ddl: &str, goats: &[&str]) -> Self {
        let mut lab = Self::empty(&[&sources[1..], targets].concat(), ddl, goats).await;
        for member in &mut lab.sync.members[..sources.len()] {
            member.role = Role::Source;
        }
        lab.validate().await.unwrap();
        lab
    }

    /// A merge of all sources, in the KID's session.
    pub(crate) async fn merge(&mut self) -> Result<RoundReport, Fault> {
        self.merge_watched(Watch::default()).await
    }

    /// A merge with a hook of the test's own.
    pub(crate) async fn merge_watched(&mut self, watch: Watch) -> Result<RoundReport, Fault> {
        let mut session = match self.merging.take() {
            Some(session) => session,
            None => {
                let sync = Arc::new(self.sync.clone());
                let codes = self.codes(&sync);
                MergeSession::new(sync, Arc::new(self.conflicts.clone())).with_codes(codes)
            }
        };
        let ended = session.round(Reason::Request, watch).await;
        if ended.is_ok() {
            self.merging = Some(session);
        }
        ended
    }

    /// Merges until one finds nothing; returns how many did something.
    pub(crate) async fn settle(&mut self) -> u64 {
        for merges in 0..20 {
            if self.merge().await.unwrap().is_empty() {
                return merges;
            }
        }
        panic!("the merges find no end");
    }

    pub(crate) async fn validate(&mut self) -> Result<Validated, ValidateError> {
        self.sessions.clear();
        self.merging = None;
        validate_sync(&self.sync).await
    }

    /// Gives the target another role.
    pub(crate) async fn renew_as(&mut self, role: Role) {
        let place = self.sync.members.iter().position(|member| member.db.name.as_str() == "b").unwrap();
        self.sync.members[place].role = role;
        self.validate().await.unwrap();
    }

    /// Every KID begins a new session.
    pub(crate) fn renew(&mut self) {
        self.sessions.clear();
        self.merging = None;
    }

    pub(crate) fn on(&self, name: &str) -> &Database {
        &self.databases[name]
    }

    /// A round of the target's KID, which keeps its session from one round to the next.
    pub(crate) async fn round(&mut self, target: &str) -> Result<RoundReport, Fault> {
        self.round_watched(target, Watch::default()).await
    }

    /// A round that fails when it gets to `step` (as operators read it; the beginning of the text is enough).
    pub(crate) async fn round_failing(&mut self, target: &str, step: &str, accident: Accident) -> Fault {
        self.round_watched(target, failing(step, accident)).await.unwrap_err()
    }

    /// The same of a merge.
    pub(crate) async fn merge_failing(&mut self, step: &str, accident: Accident) -> Fault {
        self.merge_watched(failing(step, accident)).await.unwrap_err()
    }

    /// A round with a hook of the test's own.
    pub(crate) async fn round_watched(&mut self, target: &str, watch: Watch) -> Result<RoundReport, Fault> {
        let id = Pair { sync: self.sync.name.clone(), source: "a".into(), target: target.into() };
        let mut session = match self.sessions.remove(target) {
            Some(session) => session,
            None if self.sync.role(&id.target) == Some(Role::Fullcopy) => {
                let sync = Arc::new(self.sync.clone());
                let codes = self.codes(&sync);
                return CopySession::new(sync, id).with_codes(codes).round(Reason::Request, watch).await;
            }
            None => {
                let sync = Arc::new(self.sync.clone());
                let codes = self.codes(&sync);
                PairSession::new(sync, id).with_codes(codes)
            }
        };
        let ended = session.round(Reason::Request, watch).await;
        if ended.is_ok() {
            self.sessions.insert(target.to_owned(), session);
        }
        ended
    }

    /// A KID of its own that makes whole copies, with the codes of the sync.
    pub(crate) fn copies(&self, target: &str) -> CopySession {
        let id = Pair { sync: self.sync.name.clone(), source: "a".into(), target: target.into() };
        let sync = Arc::new(self.sync.clone());
        let codes = self.codes(&sync);
        CopySession::new(sync, id).with_codes(codes)
    }

    fn codes(&self, sync: &Arc<SyncDetail>) -> Option<Codes> {
        Some(Codes::of(sync, self.hosts.clone()?)?.with_post(self.post.clone()))
    }

    /// A KID of its own for a target.
    pub(crate) fn pair(&self, target: &str) -> PairSession {
        let id = Pair { sync: self.sync.name.clone(), source: "a".into(), target: target.into() };
        PairSession::new(Arc::new(self.sync.clone()), id)
    }

    /// Rounds until one finds nothing; returns rows written.
    pub(crate) async fn drain(&mut self, target: &str) -> u64 {
        let mut rows = 0;
        loop {
            let report = self.round(target).await.unwrap();
            if report.is_empty() {
                return rows;
            }
            rows += report.inserts;
        }
    }

    /// Every table is the same on every database.
    pub(crate) async fn assert_same(&self) {
        let mut names: Vec<&String> = self.databases.keys().collect();
        names.sort();
        let databases: Vec<&Database> = names.iter().map(|name| &self.databases[*name]).collect();
        for goat in self.sync.tables() {
            let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            assert_same(&format!("{}.{}", quoted(&goat.schema), quoted(&goat.name)), &databases).await;
        }
    }
}

/// Fails what gets to `step`.
fn failing(step: &str, accident: Accident) -> Watch {
    let step = step.to_owned();
    let hook: StepHook = Arc::new(move |at: &str| {
        let is_there = at.starts_with(&step);
        let text = at.to_owned();
        async move {
            match (is_there, accident) {
                (false, _) => Ok(()),
                (true, Accident::Fault) => Err(Fault::transient(format!("the power fails: {text}"))),
                (true, Accident::Panic) => panic!("the power fails: {text}"),
            }
        }
        .boxed()
    });
    Watch::default().with_hook(hook)
}

/// A merge that dies at the step of this number, if it gets there.
pub(crate) fn dying(at: usize) -> Watch {
    let steps = Arc::new(Mutex::new(0));
    let hook: StepHook = Arc::new(move |step: &str| {
        let mut steps = steps.lock().unwrap();
        *steps += 1;
        let dies = *steps == at;
        let step = step.to_owned();
        async move { if dies { Err(Fault::transient(format!("the power fails: {step}"))) } else { Ok(()) } }.boxed()
    });
    Watch::default().with_hook(hook)
}

/// A sync without databases and tables.
pub(crate) fn empty_sync(name: &str) -> SyncDetail {
    SyncDetail {
        name: name.into(),
        status: "active".to_owned(),
        dbgroup: "lab".to_owned(),
        members: Vec::new(),
        goats: Vec::new(),
        mappings: Vec::new(),
        codes: Vec::new(),
        autokick: true,
        do_listen: false,
        limitdbs: None,
        priority: 0,
        checktime: None,
        stayalive: true,
        kidsalive: true,
        lifetime: None,
        maxkicks: None,
        onetimecopy: 0,
        copy_request: 0,
        deletemethod: DeleteMethod::Delete,
        analyze_after_copy: true,
        vacuum_after_copy: false,
        rebuild_index: false,
        copyextra: String::new(),
        strict_checking: true,
        conflict_strategy: "bucardo_latest".to_owned(),
        makedelta: false,
        serializable: false,
        deadletter: false,
        lock: None,
        batch_rows_max: 500_000,
        endsync_sleep: std::time::Duration::ZERO,
        copy: CopyLimits::default(),
        problem: None,
    }
}

/// A database in its role.
pub(crate) fn member(name: &str, conninfo: &str, role: Role) -> Member {
    let access = Access::parse(conninfo).unwrap();
    Member {
        db: Arc::new(Db {
            name: name.into(),
            access,
            kind: "postgres".to_owned(),
            active: true,
            budget: Budget::default(),
            sourcelimit: None,
            targetlimit: None,
        }),
        role,
        priority: 0,
        makedelta: false,
    }
}

pub(crate) fn goat(id: i32, text: &str) -> Goat {
    let (name, key) = text.split_once(':').map_or((text, None), |(name, key)| (name, Some(key)));
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    Goat {
        id,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: if key.is_some() { GoatKind::Table } else { GoatKind::Sequence },
        key: key.unwrap_or_default().split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect(),
        autokick: None,
        strict_checking: true,
        analyze_after_copy: true,
        vacuum_after_copy: true,
        rebuild_index: None,
        ghost: false,
        conflict_strategy: None,
        makedelta: None,
    }
}
