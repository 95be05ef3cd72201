//! Several syncs between several databases, without daemon and control database: who hands what on to whom.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bucardo::catalog::{Role, SyncDetail};
use bucardo::engine::merge::MergeSession;
use bucardo::engine::{FollowSession, PairSession};
use bucardo::source::validate_sync;
use bucardo_actors::model::{DbName, Fault, Pair, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, Watch};

use super::database::Database;
use super::sync_lab::{Told, empty_sync, goat, member};
use super::{assert_same, fresh_database};

/// Rounds that may be needed until nothing moves; more are a ring that never ends.
const ROUNDS_MAX: usize = 200;

/// Databases and the syncs between them.
pub(crate) struct Web {
    databases: BTreeMap<String, Database>,
    goats: Vec<String>,
    pub(crate) syncs: Vec<SyncDetail>,
    sessions: HashMap<Pair, PairSession>,
    merges: HashMap<String, MergeSession>,
    follows: HashMap<(String, DbName), FollowSession>,
    /// That merges have counted.
    pub(crate) conflicts: u64,
}

impl Web {
    /// Databases with `ddl` in each. `goats` as in [`super::SyncLab`].
    pub(crate) async fn start(names: &[&str], ddl: &str, goats: &[&str]) -> Self {
        let mut databases = BTreeMap::new();
        for name in names {
            let database = fresh_database(name).await;
            database.run(ddl).await;
            databases.insert((*name).to_owned(), database);
        }
        let goats = goats.iter().map(|goat| (*goat).to_owned()).collect();
        Self {
            databases,
            goats,
            syncs: Vec::new(),
            sessions: HashMap::new(),
            merges: HashMap::new(),
            follows: HashMap::new(),
            conflicts: 0,
        }
    }

    /// Adds syncs with makedelta, each `name: source -> target target` or `name: source source -> target`, and validates
    /// them.
    pub(crate) async fn syncs(&mut self, lines: &[&str]) {
        for line in lines {
            let sync = self.sync(line, true);
            validate_sync(&sync).await.unwrap();
            self.syncs.push(sync);
        }
    }

    /// The same without makedelta.
    pub(crate) async fn plain_sync(&mut self, line: &str) {
        let sync = self.sync(line, false);
        validate_sync(&sync).await.unwrap();
        self.syncs.push(sync);
    }

    /// A sync that is not validated yet.
    pub(crate) fn sync(&self, line: &str, makedelta: bool) -> SyncDetail {
        let (name, way) = line.split_once(": ").unwrap();
        let (sources, targets) = way.split_once(" ->").unwrap();
        let mut sync = empty_sync(name);
        sync.goats = self.goats.iter().zip(1..).map(|(text, id)| goat(id, text)).collect();
        sync.makedelta = makedelta;
        let sources = sources.split(' ').map(|it| (it, Role::Source));
        let roles = sources.chain(targets.split_whitespace().map(|it| (it, Role::Target)));
        for (db, role) in roles {
            let mut member = member(db, &self.databases[db].conninfo(), role);
            member.makedelta = makedelta;
            sync.members.push(member);
        }
        sync
    }

    pub(crate) fn on(&self, name: &str) -> &Database {
        &self.databases[name]
    }

    /// New sessions from now on, with the syncs as they are in `self.syncs`.
    pub(crate) fn renew(&mut self) {
        self.sessions.clear();
        self.merges.clear();
        self.follows.clear();
    }

    /// Every pair of the syncs with one source, in their order.
    pub(crate) fn pairs(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for sync in self.syncs.iter().filter(|sync| sync.dbs(Role::Source).count() == 1) {
            let source = sync.dbs(Role::Source).next().unwrap().name.clone();
            for target in sync.dbs(Role::Target) {
                pairs.push(Pair { sync: sync.name.clone(), source: source.clone(), target: target.name.clone() });
            }
        }
        pairs
    }

    /// A round of a sync with one target.
    pub(crate) async fn round(&mut self, sync: &str) -> Result<RoundReport, Fault> {
        let pair = self.pairs().into_iter().find(|pair| pair.sync.as_str() == sync).unwrap();
        self.round_of(&pair, Watch::default()).await
    }

    pub(crate) async fn round_of(&mut self, pair: &Pair, watch: Watch) -> Result<RoundReport, Fault> {
        let mut session = self.sessions.remove(pair).unwrap_or_else(|| {
            let sync = self.syncs.iter().find(|sync| sync.name == pair.sync).unwrap();
            PairSession::new(Arc::new(sync.clone()), pair.clone())
        });
        let ended = session.round(Reason::Request, watch).await;
        if ended.is_ok() {
            self.sessions.insert(pair.clone(), session);
        }
        ended
    }

    /// A merge of every sync with several sources, and a round of each of their targets.
    pub(crate) async fn merge_all(&mut self) -> Vec<(String, RoundReport)> {
        let mut reports = Vec::new();
        for sync in self.syncs.iter().filter(|sync| sync.dbs(Role::Source).count() > 1) {
            let name = sync.name.to_string();
            let whole = Arc::new(sync.clone());
            let merge = self.merges.entry(name.clone());
            let merge = merge.or_insert_with(|| MergeSession::new(whole.clone(), Arc::new(Told::default())));
            let report = merge.round(Reason::Request, Watch::default()).await.unwrap();
            self.conflicts += report.conflicts;
            reports.push((name.clone(), report));
            for target in sync.dbs(Role::Target) {
                let follow = self.follows.entry((name.clone(), target.name.clone()));
                let follow = follow.or_insert_with(|| FollowSession::new(whole.clone(), target.name.clone(), None));
                let report = follow.round(Reason::Request, Watch::default()).await.unwrap();
                reports.push((format!("{name}->{}", target.name), report));
            }
        }
        reports
    }

    /// Rounds of all pairs, one after the other, until none brings anything; returns rows written by pair, as
    /// `sync->target`.
    pub(crate) async fn settle(&mut self) -> BTreeMap<String, u64> {
        let mut written = BTreeMap::new();
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for (name, report) in self.merge_all().await {
                if report.inserts + report.deletes + report.keys > 0 {
                    moved = true;
                    *written.entry(name).or_default() += report.inserts;
                }
            }
            for pair in self.pairs() {
                let report = self.round_of(&pair, Watch::default()).await.unwrap();
                let changes = report.inserts + report.deletes + report.truncates + report.keys;
                moved |= changes > 0;
                if changes > 0 {
                    *written.entry(format!("{}->{}", pair.sync, pair.target)).or_default() += report.inserts;
                }
            }
            if !moved {
                return written;
            }
        }
        panic!("still moving after {ROUNDS_MAX} rounds of all: {written:?}");
    }

    /// All delta rows and truncates. The same twice: nothing was handed on. (Positions move whenever a transaction of
    /// another test ends that was under way when they were written.)
    pub(crate) async fn traces(&self) -> Vec<String> {
        let mut traces = Vec::new();
        for (name, database) in &self.databases {
            let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'bucardo' \
                AND tablename NOT IN ('position', 'track') ORDER BY 1";
            for table in database.rows(tables).await {
                let rows = database.value(&format!("SELECT count(*) || ' ' || md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {table} AS t")).await;
                traces.push(format!("{name} {table}: {rows}"));
            }
        }
        traces
    }

    /// Several more rounds of all write nothing at all.
    pub(crate) async fn assert_silent(&mut self) {
        let before = self.traces().await;
        for _ in 0..3 {
            for pair in self.pairs() {
                let report = self.round_of(&pair, Watch::default()).await.unwrap();
                assert!(report.is_empty(), "{pair:?}: {report:?}");
            }
            for (name, report) in self.merge_all().await {
                assert!(report.is_empty(), "{name}: {report:?}");
            }
        }
        assert_eq!(self.traces().await, before);
    }

    /// The same contents everywhere.
    pub(crate) async fn assert_same(&self, table: &str) {
        let databases: Vec<&Database> = self.databases.values().collect();
        assert_same(table, &databases).await;
    }
}
